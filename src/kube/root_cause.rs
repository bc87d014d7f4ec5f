//! What lies beneath an error.

use std::error::Error;

/// Where the chain of causes ends: what stands before it says only that there was no connection.
pub fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error)
}
