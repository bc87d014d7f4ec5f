//! The operating system that a pod demands.

use super::{
    BadReview,
    json::{self, Value},
};
use crate::injection::settings::Os;

/// What system the pod's containers run on, as far as the pod demands one: `os.name` decides where it is given, then
/// the node selector, then required node affinity.
pub(super) fn demanded(
    os: Option<Value<'_>>,
    node_selector: Option<Value<'_>>,
    affinity: Option<Value<'_>>,
) -> Result<Os, BadReview> {
    if let Some(name) = os.map(|os| field(os, "name", "spec.os")).transpose()?.flatten() {
        return Ok(os_called(json::string(name, "spec.os.name")?));
    }
    if let Some(selector) = node_selector {
        for (key, value) in json::fields(selector, "spec.nodeSelector")? {
            if is_os_label(key) && os_called(json::string(value, "spec.nodeSelector")?) == Os::Windows {
                return Ok(Os::Windows);
            }
        }
    }
    match affinity {
        Some(affinity) if affinity_demands_windows(affinity)? => Ok(Os::Windows),
        _ => Ok(Os::Linux),
    }
}

/// Node selector terms are alternatives: Windows is certain only if every one of them demands it.
fn affinity_demands_windows(affinity: Value<'_>) -> Result<bool, BadReview> {
    const PATH: &str = "spec.affinity.nodeAffinity";
    let mut value = affinity;
    for key in ["nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"] {
        match field(value, key, PATH)? {
            Some(inner) => value = inner,
            None => return Ok(false),
        }
    }
    let mut terms = json::items(json::array(value, PATH)?).peekable();
    if terms.peek().is_none() {
        return Ok(false);
    }
    for term in terms {
        let mut demands_windows = false;
        if let Some(expressions) = field(term, "matchExpressions", PATH)? {
            for expression in json::items(json::array(expressions, PATH)?) {
                demands_windows |= expression_demands_windows(expression)?;
            }
        }
        if !demands_windows {
            return Ok(false);
        }
    }
    Ok(true)
}

fn expression_demands_windows(expression: Value<'_>) -> Result<bool, BadReview> {
    const PATH: &str = "spec.affinity.nodeAffinity";
    let (mut key, mut operator, mut values) = ("", "", None);
    for (name, value) in json::fields(expression, PATH)? {
        match name {
            "key" => key = json::string(value, PATH)?,
            "operator" => operator = json::string(value, PATH)?,
            "values" => values = json::array(value, PATH)?,
            _ => {}
        }
    }
    let mut only_windows = values.is_some_and(|values| values.len() > 0);
    for value in json::items(values) {
        only_windows &= os_called(json::string(value, PATH)?) == Os::Windows;
    }
    Ok(is_os_label(key) && operator == "In" && only_windows)
}

fn is_os_label(key: &str) -> bool {
    matches!(key, "kubernetes.io/os" | "beta.kubernetes.io/os")
}

fn os_called(name: &str) -> Os {
    if name == "windows" { Os::Windows } else { Os::Linux }
}

/// The field of an object that is called `key`, if it is there and not `null`.
fn field<'a>(object: Value<'a>, key: &str, path: &'static str) -> Result<Option<Value<'a>>, BadReview> {
    let value = json::fields(object, path)?.filter(|(name, _)| *name == key).last();
    Ok(value.map(|(_, value)| value).filter(|value| !value.is_null()))
}
