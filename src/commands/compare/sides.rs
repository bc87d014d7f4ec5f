//! The webhooks that the flags name: at a URL, or installed in a cluster.

use std::sync::Arc;

use anyhow::Context;

use super::{
    about::About,
    client::{Route, Side},
    connection::Shared,
    installed::Installed,
    tls,
};
use crate::{
    cli::{CompareSideArgs, CompareTlsArgs},
    commands::cluster::Clusters,
    server::Protocol,
};

/// Finds what stands behind the flags of one side; none if they name nothing.
pub(super) async fn find(
    name: &'static str,
    args: CompareSideArgs,
    trust: &CompareTlsArgs,
    protocol: Protocol,
    clusters: &mut Clusters,
) -> anyhow::Result<Option<Arc<Side>>> {
    let side = match (args.url, args.service) {
        (Some(url), _) => {
            let about = match &args.admin {
                Some(admin) => About::at(admin).await.with_context(|| format!("--{name}-admin"))?,
                None => About::default(),
            };
            let tls = Arc::new(tls::load(trust, protocol, &[])?);
            Side { name, url, tls, route: Route::Direct, protocol, shared: Shared::default(), about }
        }
        (None, Some((namespace, service))) => {
            let flag = || format!("--{name}-service");
            let client = clusters.client().await?;
            let installed = Installed::find(&client, &namespace, &service).await.with_context(flag)?;
            let about = installed.about().await.with_context(flag)?;
            let tls = Arc::new(tls::load(trust, protocol, &installed.authorities)?);
            Side {
                name,
                url: installed.url.clone(),
                tls,
                route: Route::PortForward(Box::new(installed)),
                protocol,
                shared: Shared::default(),
                about,
            }
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(side)))
}
