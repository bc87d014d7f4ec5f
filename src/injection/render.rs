//! The JSON of what is injected: env entries, the volume and its mount.
//!
//! What depends on the settings or on a ServiceAccount is rendered when they change; a request copies the bytes.

/// The env entry that makes the kubelet fill in the pod's name, where it is not known at admission.
pub const SESSION_NAME_BY_DOWNWARD_API: &[u8] =
    br#"{"name":"AWS_ROLE_SESSION_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}"#;

/// The output of `render`, in a new buffer.
pub fn to_vec(render: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    render(&mut out);
    out
}

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // Hardly any text needs an escape. Without an early exit, the compiler checks many bytes at a time.
    let needs_escape = text.bytes().fold(false, |any, byte| any | matches!(byte, ..b' ' | b'"' | b'\\'));
    if needs_escape {
        serde_json::to_writer(out, text).expect("writing a string to memory can't fail");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

/// Appends the env entry that sets `name` to `value`.
pub fn env(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(br#"{"name":"#);
    string(out, name);
    out.extend_from_slice(br#","value":"#);
    string(out, value);
    out.push(b'}');
}

/// Appends the projected volume that holds the token.
pub fn volume(out: &mut Vec<u8>, name: &str, audience: &str, expiration_seconds: u64, token_path: &str) {
    out.extend_from_slice(br#"{"name":"#);
    string(out, name);
    out.extend_from_slice(br#","projected":{"sources":[{"serviceAccountToken":{"audience":"#);
    string(out, audience);
    out.extend_from_slice(br#","expirationSeconds":"#);
    out.extend_from_slice(itoa::Buffer::new().format(expiration_seconds).as_bytes());
    out.extend_from_slice(br#","path":"#);
    string(out, token_path);
    out.extend_from_slice(b"}}]}}");
}

/// Appends the mount of the volume called `name` at `path`.
pub fn mount(out: &mut Vec<u8>, name: &str, path: &str) {
    out.extend_from_slice(br#"{"name":"#);
    string(out, name);
    out.extend_from_slice(br#","mountPath":"#);
    string(out, path);
    out.extend_from_slice(br#","readOnly":true}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_escaped_as_json_wants() {
        for character in (0..=0x2000).filter_map(char::from_u32) {
            for text in [character.to_string(), format!("arn:aws:iam::111122223333:role/{character}/x")] {
                let rendered = to_vec(|out| string(out, &text));
                assert_eq!(rendered, serde_json::to_vec(&text).unwrap(), "{text:?}");
            }
        }
        assert_eq!(to_vec(|out| string(out, "")), b"\"\"");
    }
}
