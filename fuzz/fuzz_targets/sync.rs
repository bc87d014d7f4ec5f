//! See `tests/checks`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| eks_pod_identity_webhook_fuzz::sync(input));
