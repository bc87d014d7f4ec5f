//! The two ports, and what they may use.

use std::{io, net::SocketAddr};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tracing::warn;

use crate::{cli::config::Config, server::listen::Port};

/// The remedy for a privileged port. The AWS webhook has one, and runs as root, which this image does not.
const PRIVILEGED_PORT: &str = ": ports below 1024 are for root on this node; set the pod's sysctl \
    net.ipv4.ip_unprivileged_port_start to 0 (securityContext.sysctls), or take another port";

/// How many connections the admin port takes: a kubelet's and some scrapes.
pub(super) const ADMIN_CONNECTIONS: usize = 32;

/// How many open files are kept for the admin port, the watch and what is read from disk.
const RESERVED_FILES: usize = 2 * ADMIN_CONNECTIONS;

/// Raises the limit on open files as far as it goes, and keeps some of them back: a flood of connections that took the
/// probes with it would end in a restart.
pub(super) fn fitted_to_open_files(max_connections: usize) -> usize {
    let Ok(limit) = rlimit::increase_nofile_limit(u64::MAX) else { return max_connections };
    let fitting = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(RESERVED_FILES).max(1);
    if max_connections > fitting {
        warn!(
            max_connections,
            limit, fitting, "--max-connections is more than the limit on open files allows"
        );
    }
    max_connections.min(fitting)
}

/// Both ports. The admin port takes connections; the webhook's is bound.
pub(super) struct Ports {
    pub(super) admin: TcpListener,
    pub(super) admin_address: SocketAddr,
    pub(super) webhook: Port,
    pub(super) webhook_address: SocketAddr,
}

impl Ports {
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let (admin, admin_address) = bind("--admin-listen", config.admin_listen, config.is_port_shared)?;
        let (webhook, webhook_address) = bind("--listen", config.listen, config.is_port_shared)?;
        let admin = admin.listen().with_context(|| format!("--admin-listen {admin_address}"))?;
        Ok(Self { admin, admin_address, webhook, webhook_address })
    }
}

/// Binds the port of this flag.
fn bind(flag: &str, address: SocketAddr, is_shared: bool) -> anyhow::Result<(Port, SocketAddr)> {
    let port = Port::bind(address, is_shared).map_err(|error| {
        let is_privileged = error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024;
        let hint = if is_privileged { PRIVILEGED_PORT } else { "" };
        anyhow!(error).context(format!("{flag} {address}: can't listen there{hint}"))
    })?;
    let address = port.address()?;
    Ok((port, address))
}
