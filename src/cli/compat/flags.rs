//! Which flags other webhooks have, and what each means here.

pub(super) const STDERR: &str = "everything is logged to standard error, in one form; see --log-format";

/// A flag of another webhook.
pub(super) struct Foreign {
    pub(super) name: &'static str,
    /// Whether it takes a value behind a space.
    pub(super) takes_value: bool,
    pub(super) meaning: Meaning,
}

/// Its equivalent here.
pub(super) enum Meaning {
    /// A flag of ours, by another name.
    Renamed(&'static str),
    /// A switch of ours.
    Switch(&'static str),
    /// A port of ours, on every address.
    Port(&'static str),
    /// An address of ours.
    Address(&'static str),
    /// A duration of ours.
    Duration(&'static str),
    /// klog's number for how much is logged.
    Verbosity,
    /// Our own flag, within its range instead of refused.
    Expiration,
    /// Our own flag, and Go's names of versions; older ones than ours are raised.
    TlsMinVersion,
    /// Certificates that the cluster signs.
    InCluster,
    /// Pages of another name.
    DebugHandlers,
    /// This program always does it.
    Always(&'static str),
    /// This program does not do it, for this reason.
    Nothing(&'static str),
    /// Print the version and end.
    Version,
}

use Meaning::{
    Address, Always, DebugHandlers, Duration, Expiration, InCluster, Nothing, Port, Renamed, Switch,
    TlsMinVersion, Verbosity, Version,
};

const fn value(name: &'static str, meaning: Meaning) -> Foreign {
    Foreign { name, takes_value: true, meaning }
}

const fn switch(name: &'static str, meaning: Meaning) -> Foreign {
    Foreign { name, takes_value: false, meaning }
}

/// Those of amazon-eks-pod-identity-webhook that are not ours as they are.
pub(super) const OF_AWS: &[Foreign] = &[
    switch("in-cluster", InCluster),
    value("service-name", Renamed("--tls-service-name")),
    value("tls-secret", Renamed("--tls-secret-name")),
    value("tls-cert", Renamed("--tls-cert-file")),
    value("tls-key", Renamed("--tls-key-file")),
    value("tls-min-version", TlsMinVersion),
    value("tls-cipher-suites", Nothing("only ECDHE with AES-GCM or ChaCha20-Poly1305 is offered")),
    value("port", Port("--listen")),
    value("metrics-port", Port("--admin-listen")),
    value("token-expiration", Expiration),
    value("aws-default-region", Renamed("--aws-region")),
    switch("sts-regional-endpoint", Switch("--sts-regional-endpoints")),
    switch(
        "compose-role-arn",
        Nothing("a node that is not an EC2 instance does not know the account; give --aws-account-id"),
    ),
    value("service-account-lookup-grace-period", Duration("--lookup-grace")),
    value("resync-period", Nothing("the watch reports every change, so nothing is read again")),
    switch("enable-debugging-handlers", DebugHandlers),
    switch("version", Version),
];

/// Those that klog adds to it.
const OF_KLOG: &[Foreign] = &[
    value("v", Verbosity),
    value("vmodule", Nothing("--log-level takes a filter by module")),
    switch("logtostderr", Always(STDERR)),
    switch("alsologtostderr", Nothing(STDERR)),
    value("alsologtostderrthreshold", Nothing(STDERR)),
    value("stderrthreshold", Nothing(STDERR)),
    switch("legacy_stderr_threshold_behavior", Nothing(STDERR)),
    value("log_dir", Nothing(STDERR)),
    value("log_file", Nothing(STDERR)),
    value("log_file_max_size", Nothing(STDERR)),
    switch("one_output", Nothing(STDERR)),
    switch("add_dir_header", Nothing(STDERR)),
    switch("skip_headers", Nothing(STDERR)),
    switch("skip_log_headers", Nothing(STDERR)),
    value("log_backtrace_at", Nothing("no line of the log carries a stack trace")),
];

/// Those of mondu-ai/eks-pod-identity-webhook.
const OF_MONDU: &[Foreign] = &[
    value("tls-cert-path", Renamed("--tls-cert-file")),
    value("tls-key-path", Renamed("--tls-key-file")),
    value("listen-addr", Address("--listen")),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Foreign> {
    [OF_AWS, OF_KLOG, OF_MONDU].into_iter().flatten()
}
