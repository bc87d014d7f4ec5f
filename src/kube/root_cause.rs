//! The cause of an error, in words.

use std::error::Error;

/// The error of rustls if a server serves the same certificate that is trusted as its authority.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// The last error in the chain of causes. Those before it say only that the connection failed.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error);
    let cause = last.to_string();
    if cause.contains(CA_AS_SERVER) {
        return "the server's certificate is a CA certificate, as openssl req -x509 makes it, and a server's must not be one: \
                give the server a certificate that a CA has signed, or make it with \
                -addext basicConstraints=critical,CA:FALSE"
            .to_owned();
    }
    cause
}
