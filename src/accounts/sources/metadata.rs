//! A ServiceAccount as the watch decodes it.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

/// The part of a ServiceAccount's metadata that is read here and by kube's watcher.
///
/// The rest is passed over while it is decoded: a page of a list holds 500 of these at once, and `managedFields` and
/// labels would be most of their memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Decoded")]
pub(super) struct AccountMeta(ObjectMeta);

#[derive(Deserialize)]
struct Decoded {
    metadata: DecodedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecodedMeta {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Decoded> for AccountMeta {
    fn from(Decoded { metadata }: Decoded) -> Self {
        let DecodedMeta { name, namespace, resource_version, annotations } = metadata;
        Self(ObjectMeta { name, namespace, resource_version, annotations, ..ObjectMeta::default() })
    }
}

/// A ServiceAccount of which only the metadata is asked for.
impl Resource for AccountMeta {
    type DynamicType = ();
    type Scope = <ServiceAccount as Resource>::Scope;

    fn metadata_api() -> bool {
        true
    }

    fn kind((): &()) -> Cow<'_, str> {
        ServiceAccount::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ServiceAccount::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ServiceAccount::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ServiceAccount::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0
    }
}
