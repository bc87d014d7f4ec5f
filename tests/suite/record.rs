//! Answered requests are recorded: without secrets, within bounds, and without an effect on answers.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use eks_pod_identity_webhook::{injection::variable::Variable, lifecycle::Phase, recording::Folder};
use serde_json::Value;

use crate::support::{
    self, all_recorded, eventually, minimal_of, recorded, recorded_account,
    server::{Options, Server},
    within,
};

fn unbounded(path: &Path) -> Folder {
    Folder { path: path.into(), max_files: usize::MAX, max_bytes: u64::MAX }
}

fn recording(folder: &Folder) -> Options {
    Options { record: Some(folder.clone()), ..Options::default() }
}

/// Sends reviews to a server of its own that records, ends it, and returns their statuses.
async fn serve(options: Options, bodies: &[Vec<u8>]) -> Vec<u16> {
    let server = Server::start(options).await;
    let mut client = server.client().await;
    let mut statuses = Vec::new();
    for body in bodies {
        statuses.push(client.mutate(body).await.status);
    }
    server.announcer.announce(Phase::Closing);
    within("the end", server.serving).await.unwrap();
    server.recording.unwrap().finish().await;
    statuses
}

/// The names of the files in a folder.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn recordings_are_answered_as_the_requests_were() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(recording(&unbounded(dir.path()))).await;
    let mut client = server.client().await;
    let mut replaced = 0;
    for (index, name) in all_recorded().iter().enumerate() {
        let response = client.mutate(&recorded(name)).await;
        assert_eq!(response.status, 200, "{name}");
        let prefix = format!("{:06}-", index + 1);
        let find = || names(dir.path()).into_iter().find(|file| file.starts_with(&prefix));
        eventually("it is recorded", || find().is_some()).await;
        let path = dir.path().join(find().unwrap());
        let body = fs::read(&path).unwrap();
        let answer = support::admit(body.clone(), recorded_account).unwrap().unwrap();
        assert_eq!(answer.body, response.body, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        if name != "unicode-and-escapes" {
            assert_eq!(body.len(), recorded(name).len(), "{name}: written as kube-apiserver writes");
        }
        replaced += values(&body);
    }
    assert!(replaced > 1000, "there was something to replace: {replaced}");
}

#[tokio::test]
async fn objects_other_than_pods_are_answered_and_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let body = String::from_utf8(recorded("minimal")).unwrap();
    let of = |resource: &str| body.replace(r#""resource":"pods""#, &format!(r#""resource":"{resource}""#));
    let bodies = ["secrets", "configmaps", "pods"].map(|resource| of(resource).into_bytes());
    assert_eq!(serve(recording(&unbounded(dir.path())), &bodies).await, [200; 3]);
    assert_eq!(names(dir.path()), ["000001-create-role.json"]);
}

/// How many values of variables a recording has, after a check that they are replaced or ours.
fn values(body: &[u8]) -> usize {
    let review: Value = serde_json::from_slice(body).unwrap();
    let mut count = 0;
    for object in ["object", "oldObject"] {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let containers = review["request"][object]["spec"][list].as_array().into_iter().flatten();
            for entry in containers.filter_map(|container| container["env"].as_array()).flatten() {
                let (name, value) = (entry["name"].as_str().unwrap(), entry["value"].as_str());
                let is_ours = Variable::named(name).is_some_and(Variable::is_injected);
                let is_replaced = value.unwrap_or_default().bytes().all(|c| c == b'x');
                assert!(is_ours || is_replaced, "{entry}");
                count += usize::from(value.is_some() && !is_ours);
            }
        }
    }
    count
}

#[tokio::test]
async fn names_say_operation_and_reason_and_what_is_refused_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = recording(&unbounded(dir.path()));
    options.requests.lookup_grace = std::time::Duration::ZERO;
    let bodies = [
        b"{}".to_vec(),
        b"no JSON".to_vec(),
        minimal_of("stranger"),
        recorded("minimal"),
        recorded("delete"),
        minimal_of("stranger"),
        recorded("already-mutated"),
        recorded("unannotated-account"),
        recorded("ephemeral-on-unmutated"),
    ];
    assert_eq!(serve(options, &bodies).await, [400, 400, 503, 200, 200, 503, 200, 200, 200]);
    let expected = [
        "000001-create-role.json",
        "000002-delete-not_patchable.json",
        "000003-create-already_injected.json",
        "000004-create-no_role.json",
        "000005-update-no_volume.json",
    ];
    assert_eq!(names(dir.path()), expected);
}

#[tokio::test]
async fn existing_recordings_count_and_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (first, notes) = (dir.path().join("000007-create-role.json"), dir.path().join("notes.json"));
    fs::write(&first, "first").unwrap();
    fs::write(&notes, "no recording").unwrap();
    fs::write(dir.path().join("recording.tmp"), "cut off by a kill").unwrap();
    let folder = Folder { max_files: 4, ..unbounded(dir.path()) };
    assert_eq!(serve(recording(&folder), &[recorded("minimal"), recorded("delete")]).await, [200; 2]);
    assert_eq!(serve(recording(&folder), &vec![recorded("minimal"); 5]).await, [200; 5]);
    assert_eq!(serve(recording(&folder), &vec![recorded("minimal"); 5]).await, [200; 5]);
    let expected = [
        "000007-create-role.json",
        "000008-create-role.json",
        "000009-delete-not_patchable.json",
        "000010-create-role.json",
        "notes.json",
    ];
    assert_eq!(names(dir.path()), expected);
    assert_eq!(fs::read(first).unwrap(), b"first");
    assert_eq!(fs::read(notes).unwrap(), b"no recording");
}

#[tokio::test]
async fn a_file_that_appears_while_serving_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(recording(&unbounded(dir.path()))).await;
    let theirs = dir.path().join("000001-create-role.json");
    fs::write(&theirs, "theirs").unwrap();
    assert_eq!(server.client().await.mutate(&recorded("minimal")).await.status, 200);
    let ours = dir.path().join("000002-create-role.json");
    eventually("it is recorded", || ours.exists()).await;
    assert_eq!(fs::read(theirs).unwrap(), b"theirs");
}

#[tokio::test]
async fn bytes_are_bounded_across_restarts_too() {
    let size = recorded("minimal").len() as u64;
    for (max_bytes, files) in [(0, 0), (size - 1, 0), (size, 1), (3 * size - 1, 2), (3 * size, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { max_bytes, ..unbounded(dir.path()) };
        for _ in 0..2 {
            assert_eq!(serve(recording(&folder), &vec![recorded("minimal"); 2]).await, [200; 2]);
        }
        assert_eq!(names(dir.path()).len(), files, "{max_bytes} bytes");
    }
}

#[tokio::test]
async fn a_folder_that_goes_away_disturbs_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recordings");
    let mut server = Server::start(recording(&unbounded(&path))).await;
    let mut client = server.client().await;
    let answer = client.mutate(&recorded("minimal")).await.body;
    eventually("it is recorded", || names(&path) == ["000001-create-role.json"]).await;

    fs::remove_dir_all(&path).unwrap();
    assert_eq!(client.mutate(&recorded("minimal")).await.body, answer);
    server.recording.take().unwrap().finish().await;
    assert_eq!(client.mutate(&recorded("minimal")).await.body, answer);
    assert!(!path.exists());
}
