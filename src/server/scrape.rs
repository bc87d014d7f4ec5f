//! The answer to a scrape: the text format, compressed for those who ask for that, as Prometheus does.
//!
//! Every scraper reads the text format, so only that is written, even if another is preferred. OpenMetrics would add nothing,
//! and it would change the names of buckets, since it writes `le` in another way.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

use super::reply::Reply;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a scrape with this exposition.
pub(super) fn reply(request: &HeaderMap, exposition: Vec<u8>) -> Reply {
    let compressed = takes_gzip(request).then(|| gzip(&exposition).ok()).flatten();
    let is_compressed = compressed.is_some();
    let mut reply = Reply::ok(TEXT, compressed.unwrap_or(exposition));
    reply.header(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    if is_compressed {
        reply.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

/// Whether `Accept-Encoding` names gzip without refusing it (RFC 9110, section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let lists = request.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0_f32) > 0.0
    })
}

fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_where_it_is_asked_for() {
        for (accepted, takes) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.0"], false),
            (&["identity", "x-gzip"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes_gzip(&headers), takes, "{accepted:?}");
        }
    }
}
