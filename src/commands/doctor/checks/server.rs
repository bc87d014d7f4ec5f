//! The API server.

use serde_json::Value;

use super::{Read, Unread};
use crate::{kube::fields::text, report::Finding};

/// The oldest minor version of Kubernetes 1 that the chart's objects are for: `matchConditions` are stable in it.
const OLDEST: u32 = 30;

/// The API server's version, from `/version`.
pub(crate) fn version(version: &Read<Value>) -> Finding {
    const CHECK: &str = "api-server";
    let version = match version {
        Ok(version) => version,
        Err(Unread::Failed(why) | Unread::Forbidden(why)) => {
            let remedy = "look at --kubeconfig and --context, and whether this machine can reach it";
            return Finding::fail(CHECK, format!("no answer: {why}"), remedy);
        }
        Err(Unread::Missing) => {
            return Finding::fail(
                CHECK,
                "the answer is not that of an API server",
                "look at --kubeconfig and --context",
            );
        }
    };
    let name = text(version, "/gitVersion");
    // Some providers say "30+".
    match text(version, "/minor").trim_end_matches('+').parse::<u32>().ok() {
        Some(minor) if minor >= OLDEST => Finding::pass(CHECK, name),
        Some(_) => Finding::fail(CHECK, format!("{name} is older than v1.{OLDEST}"), "upgrade the cluster"),
        None => Finding::warn(CHECK, name, format!("make sure that it is v1.{OLDEST} or newer")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Level;

    #[test]
    fn old_versions_and_other_servers_are_told() {
        let at = |minor: &str| version(&Ok(json!({"gitVersion": "v1.x", "minor": minor}))).level;
        assert_eq!(
            (at("30"), at("36+"), at("29+"), at("")),
            (Level::Pass, Level::Pass, Level::Fail, Level::Warn)
        );
        assert_eq!(version(&Err(Unread::Missing)).level, Level::Fail);
        assert_eq!(version(&Err(Unread::Failed("refused".into()))).found, "no answer: refused");
    }
}
