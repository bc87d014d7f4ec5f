//! The JSON of what is injected: env entries, the volume and its mount.
//!
//! What depends on the settings or on a ServiceAccount is rendered when they change; a request copies the bytes.

use super::settings::TokenExpiration;

/// `AWS_ROLE_ARN`, the role to assume.
pub const ROLE_ARN: &str = "AWS_ROLE_ARN";
/// `AWS_WEB_IDENTITY_TOKEN_FILE`, where the token is.
pub const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// `AWS_REGION`, read by most SDKs.
pub const REGION: &str = "AWS_REGION";
/// `AWS_DEFAULT_REGION`, read by the CLI and by older SDKs.
pub const DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// `AWS_ROLE_SESSION_NAME`, what CloudTrail shows of the pod.
pub const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
/// `AWS_STS_REGIONAL_ENDPOINTS`, for SDKs that would call the global endpoint.
pub const STS_REGIONAL_ENDPOINTS: &str = "AWS_STS_REGIONAL_ENDPOINTS";

/// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, where to ask for container credentials.
pub const CONTAINER_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, the token to ask with.
pub const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Every variable that is injected.
pub const INJECTED_ENV: [&str; 8] = [
    ROLE_ARN,
    TOKEN_FILE,
    REGION,
    DEFAULT_REGION,
    SESSION_NAME,
    STS_REGIONAL_ENDPOINTS,
    CONTAINER_FULL_URI,
    CONTAINER_TOKEN_FILE,
];

/// The env entry that selects regional STS endpoints; it has no variable part.
pub const STS_REGIONAL_ENV: &[u8] = br#"{"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"regional"}"#;

/// The env entry that makes the kubelet fill in the pod's name, where it is not known at admission.
pub const SESSION_NAME_BY_DOWNWARD_API: &[u8] =
    br#"{"name":"AWS_ROLE_SESSION_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}"#;

/// What `render` appends, in a buffer of its own.
pub fn to_vec(render: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    render(&mut out);
    out
}

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory can't fail");
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
pub fn volume(out: &mut Vec<u8>, name: &str, audience: &str, expiration: TokenExpiration, token_path: &str) {
    out.extend_from_slice(br#"{"name":"#);
    string(out, name);
    out.extend_from_slice(br#","projected":{"sources":[{"serviceAccountToken":{"audience":"#);
    string(out, audience);
    out.extend_from_slice(br#","expirationSeconds":"#);
    out.extend_from_slice(itoa::Buffer::new().format(expiration.seconds()).as_bytes());
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
