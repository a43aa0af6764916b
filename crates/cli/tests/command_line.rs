//! The binary without a cluster: help, exit statuses, configuration.
#![allow(clippy::unwrap_used, reason = "a test may panic, and its helper functions with it")]

use std::path::Path;
use std::process::{Command, Output};

fn quorate(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    // What the developer has set must not decide a test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUORATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn written(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_teaches_and_exits_0() {
    let help = quorate(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for taught in ["quorate dev", "Exit status", "QUORATE_OUTPUT", "prove"] {
        assert!(stdout(&help).contains(taught), "{taught} is not in the help");
    }
    for command in [
        "serve",
        "health",
        "dev",
        "topic",
        "subscription",
        "publish",
        "consume",
        "read",
        "cluster",
        "bench",
        "prove",
    ] {
        let help = quorate(&[command, "--help"], &[]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(stdout(&help).contains("Examples:"), "{command} has no examples");
    }
}

#[test]
fn wrong_usage_exits_2() {
    for arguments in [
        &["no-such-command"][..],
        &["publish"],
        &["consume", "s", "--credit", "0"],
        &["dev", "--nodes", "2"],
        &["health", "--url", "127.0.0.1:7431"],
        &["serve", "--print-config", "--pod", "quorate"],
    ] {
        assert_eq!(quorate(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
    let address = quorate(&["cluster", "status", "--nodes", "nowhere"], &[]);
    assert_eq!(address.status.code(), Some(2), "{}", stderr(&address));
}

#[test]
fn unreachable_cluster_exits_3_within_the_timeout_and_says_whom_it_asked() {
    // Port 9 is "discard"; nobody listens there.
    let arguments = ["topic", "list", "--nodes", "127.0.0.1:9", "--timeout", "300ms"];
    let output = quorate(&arguments, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:9"), "{}", stderr(&output));
    let json = quorate(&[&arguments[..], &["--output", "json"]].concat(), &[]);
    let error: serde_json::Value = serde_json::from_str(&stderr(&json)).unwrap();
    assert_eq!(error["error"]["code"], "UNAVAILABLE");
    assert_eq!(error["error"]["exit"], 3);
}

#[test]
fn node_that_does_not_answer_is_not_healthy() {
    // Port 9 is "discard"; nobody listens there.
    let output = quorate(&["health", "--url", "http://127.0.0.1:9/readyz"], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("NOT_READY"), "{}", stderr(&output));
}

#[test]
fn pod_is_printed_as_the_node_that_it_is() {
    let output = quorate(&["serve", "--print-config"], &[("QUORATE_POD", "quorate-2")]);
    assert!(stdout(&output).contains("node = 3\n"), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "q.toml",
        "node = 7\ndata_dir = \"from-file\"\n[limits]\nsession_timeout_ms = 7000\n",
    );
    let environment =
        [("QUORATE_NODE", "8"), ("QUORATE_DATA_DIR", "from-environment"), ("QUORATE_CONFIG", &file)];
    let output = quorate(&["serve", "--node", "9", "--print-config"], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    for line in [
        "node = 9",
        "data_dir = \"from-environment\"",
        "session_timeout_ms = 7000",
        "operation_timeout_ms = 10000",
    ] {
        assert!(printed.contains(line), "{line} is not in:\n{printed}");
    }
}

#[test]
fn printed_configuration_is_a_valid_file() {
    let dir = tempfile::tempdir().unwrap();
    let first =
        stdout(&quorate(&["serve", "--print-config", "--peers", "1=a:1,2=b:2", "--listen-http=off"], &[]));
    let file = written(dir.path(), "q.toml", &first);
    let second = quorate(&["serve", "--print-config", "--config", &file], &[]);
    assert_eq!(stdout(&second), first, "{}", stderr(&second));
}

#[test]
fn configuration_typo_exits_2_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "q.toml", "node = 1\ndata_dri = \"x\"\n");
    let output = quorate(&["serve", "--config", &file], &[]);
    assert_eq!(output.status.code(), Some(2));
    for part in ["CONFIG_INVALID", "data_dri", "data_dir", "line 2"] {
        assert!(stderr(&output).contains(part), "{part} is not in: {}", stderr(&output));
    }
    let environment = quorate(&["serve", "--print-config"], &[("QUORATE_DATADIR", "x")]);
    assert!(stderr(&environment).contains("QUORATE_DATADIR"), "{}", stderr(&environment));
}

#[test]
fn configuration_that_cannot_work_exits_2_and_names_the_setting() {
    let not_a_peer = quorate(&["serve", "--node", "3", "--peers", "1=a:1,2=b:1"], &[]);
    assert_eq!(not_a_peer.status.code(), Some(2));
    assert!(stderr(&not_a_peer).contains("CONFIG_INVALID") && stderr(&not_a_peer).contains('3'));
    let filter = quorate(&["serve", "--log-filter", "quorate=loud"], &[]);
    assert_eq!(filter.status.code(), Some(2), "{}", stderr(&filter));
}

#[test]
fn a_node_that_others_reach_refuses_to_start_without_certificates_or_the_word() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = format!("--data-dir={}", data.display());
    let everywhere =
        ["serve", &data, "--listen-client=0.0.0.0:0", "--listen-peer=127.0.0.1:0", "--listen-http=off"];
    let refused = quorate(&everywhere, &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    for part in ["INSECURE", "0.0.0.0:0", "not encrypted", "--insecure"] {
        assert!(stderr(&refused).contains(part), "{part} is not in: {}", stderr(&refused));
    }
    assert!(!dir.path().join("data").exists(), "nothing was touched");
    let peers = ["serve", &data, "--listen-client=127.0.0.1:0", "--listen-peer=[::]:0", "--listen-http=off"];
    let refused = quorate(&peers, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("taken for a node"), "{}", stderr(&refused));
}

#[test]
fn a_configuration_is_printed_wherever_its_files_are_and_with_no_secret() {
    let arguments = [
        "serve",
        "--print-config",
        "--listen-client=0.0.0.0:7411",
        "--tls-client-cert=/nowhere/tls.crt",
        "--tls-client-key=/nowhere/tls.key",
    ];
    let printed = quorate(&arguments, &[]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    assert!(stdout(&printed).contains("client_key = \"/nowhere/tls.key\""), "{}", stdout(&printed));
    assert!(stdout(&printed).contains("insecure = false"));
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", dir.path().join("data").display());
    let file = written(dir.path(), "tls.crt", "nothing of the kind");
    let (cert, key) = (format!("--tls-client-cert={file}"), "--tls-client-key=/nowhere/tls.key".to_owned());
    let refused = quorate(&["serve", &data, "--listen-client=127.0.0.1:0", &cert, &key], &[]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("/nowhere/tls.key"), "{}", stderr(&refused));
    let client = quorate(&["cluster", "status", "--ca", &file], &[]);
    assert_eq!(client.status.code(), Some(6), "{}", stderr(&client));
    assert!(stderr(&client).contains("holds no certificate"), "{}", stderr(&client));
}
