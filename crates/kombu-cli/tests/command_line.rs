//! The command as it is run: what it refuses, what it prints, and how it ends, without a broker.

use std::process::{Command, Output, Stdio};

fn kombu(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kombu"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the command runs")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("it prints UTF-8")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("it prints UTF-8")
}

/// Runs what must fail with this code and one line; returns the line.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = kombu(arguments);
    let line = err(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {line}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(line.starts_with("kombu: "), "{arguments:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
    line.trim_end().to_owned()
}

#[test]
fn help_names_every_command_and_exit_code() {
    let output = kombu(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    for word in [
        "publish",
        "consume",
        "size",
        "purge",
        "delete",
        "move",
        "rpc",
        "top",
        "ping",
        "transports",
        "  0 ",
        "  1 ",
        "  2 ",
        "  3 ",
        "  130 ",
    ] {
        assert!(out(&output).contains(word), "{word}");
    }
}

#[test]
fn help_of_each_command_names_its_options_and_has_an_example() {
    for (command, options) in [
        (
            "publish",
            &[
                "--queue",
                "--exchange",
                "--type",
                "--routing-key",
                "--bind",
                "--serializer",
                "--compression",
                "--header",
                "--priority",
                "--expires",
                "--mandatory",
                "--option",
                "--lines",
                "BODY",
                "--connect-timeout",
            ][..],
        ),
        (
            "consume",
            &[
                "--queue",
                "--exchange",
                "--type",
                "--routing-key",
                "--count",
                "--timeout",
                "--prefetch",
                "--accept",
                "--ack",
                "--no-ack",
                "--requeue",
                "--reject",
                "--format",
                "--option",
                "--connect-timeout",
            ][..],
        ),
        ("size", &["URL", "QUEUE"][..]),
        ("purge", &["URL", "QUEUE"][..]),
        ("delete", &["URL", "QUEUE"][..]),
        ("move", &["FROM_URL", "FROM_QUEUE", "TO_URL", "TO_QUEUE", "--count"][..]),
        (
            "rpc",
            &[
                "URL",
                "QUEUE",
                "BODY",
                "--serializer",
                "--header",
                "--timeout",
                "--mandatory",
                "--accept",
                "--format",
                "--option",
                "--connect-timeout",
            ][..],
        ),
        ("top", &["URL", "QUEUE", "--interval", "--count", "--once", "--json"][..]),
        ("ping", &["URL"][..]),
        ("transports", &["--json"][..]),
    ] {
        let output = kombu(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = out(&output);
        assert!(help.contains("Example") && help.contains(&format!("kombu {command} ")), "{help}");
        for option in options {
            assert!(help.contains(option), "{command}: {option}");
        }
    }
}

#[test]
fn no_command_prints_the_help_and_ends_with_2() {
    let output = kombu(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && err(&output).contains("Usage: kombu"));
}

#[test]
fn mistakes_on_the_command_line_are_one_line_and_end_with_2() {
    let url = "memory://";
    for (arguments, named) in [
        (&["publsh"][..], "'publish'"),
        (&["publish", url][..], "--queue"),
        (&["publish", url, "--queue", "q", "--exchange", "e", "1"][..], "--exchange"),
        (&["publish", url, "--queue", "q", "--bind", "p", "1"][..], "--bind"),
        (&["publish", url, "--queue", "q", "--lines", "1"][..], "--lines"),
        (&["publish", url, "--queue", "", "1"][..], "the name is empty"),
        (&["publish", url, "--queue", "q", "--header", "a", "1"][..], "NAME=VALUE"),
        (&["publish", url, "--queue", "q", "--header", "=a", "1"][..], "is empty"),
        (&["publish", url, "--queue", "q", "--priority", "256", "1"][..], "256"),
        (&["publish", url, "--queue", "q", "--expires", "-1", "1"][..], "--expires"),
        (&["publish", url, "--queue", "q", "--expires=soon", "1"][..], "write seconds"),
        (&["publish", url, "--queue", "q", "--option", "a", "1"][..], "NAME=VALUE"),
        (&["consume", url][..], "--queue"),
        (&["consume", url, "--queue", "q", "--ack", "--requeue"][..], "--requeue"),
        (&["consume", url, "--queue", "q", "--type", "topic"][..], "--exchange"),
        (&["consume", url, "--queue", "q", "--count", "0"][..], "--count"),
        (&["consume", url, "--queue", "q", "--format", "xml"][..], "json, body"),
        (&["consume", url, "--queue", "q", "--prefetch", "70000"][..], "70000"),
        (&["move", url, "q", url][..], "TO_QUEUE"),
        (&["rpc", url][..], "QUEUE"),
        (&["rpc", url, "q", "--timeout", "x", "1"][..], "write seconds"),
        (&["rpc", url, "q", "--format", "xml", "1"][..], "body, json"),
        (&["top", url][..], "QUEUE"),
        (&["top", url, ""][..], "the name is empty"),
        (&["top", url, "q", "--once", "--count", "2"][..], "--count"),
        (&["top", url, "q", "--interval", "x"][..], "write seconds"),
        (&["size", url, "q", "extra"][..], "extra"),
        (&["ping", url, "--connect-timeout", "x"][..], "write seconds"),
    ] {
        let line = fails(2, arguments);
        assert!(line.contains(named), "{line}");
        assert!(line.ends_with("--help)"), "{line}");
    }
}

#[test]
#[cfg(feature = "memory")]
fn malformed_urls_are_refused_by_the_part_that_is_wrong_and_passwords_do_not_print() {
    for (url, named) in [
        ("", "the URL is empty"),
        ("localhost", "no \"://\""),
        ("user:hunter2@localhost", "no \"://\""),
        ("://user:hunter2@localhost", "no scheme"),
        ("memory://user:hunter2@host:port", "the port is not a number"),
        ("memory://user:hunter2@host:0", "the port is out of range"),
        ("memory://user:hunter2@host:70000", "the port is out of range"),
        ("memory://user:hunter2%zz@host", "bad percent escape in the password"),
        ("memory://user:hunter2@host/%ff", "not UTF-8"),
        ("memory://user:hunter2@[::1", "bracket"),
        ("memory://user:hunter2@ho st", "a space"),
        ("memory://user:hunter2@host\n", "a line end"),
        ("memory://user:hunter2@host/v#x", "%23"),
        ("memory://user:hunter2/@host", "%2F"),
        ("memory://user:hunter2@host?=x", "has no name"),
        ("memory://user:hunter2@host;", "empty URL"),
        ("memory://user:hunter2@host;user:hunter2@other", "2 of 2"),
        ("mem.ory://user:hunter2@host", "the scheme holds '.'"),
        ("memroy://user:hunter2@host", "did you mean \"memory\"?"),
        ("gcpubsub://user:hunter2@host?password=hunter2", "enable the feature \"gcpubsub\""),
    ] {
        for arguments in [
            &["ping", url][..],
            &["size", url, "q"][..],
            &["publish", url, "--queue", "q", "1"][..],
            &["consume", url, "--queue", "q"][..],
            &["move", url, "q", "memory://other", "q"][..],
            &["move", "memory://other", "q", url, "q"][..],
        ] {
            let line = fails(1, arguments);
            assert!(line.contains(named) && !line.contains("hunter2"), "{arguments:?}: {line}");
        }
    }
}

#[test]
fn passwords_do_not_print_in_mistakes_either() {
    let short = "memory://user:hunter2@host";
    let long = "memory://user:hunter2@host?password=hunter2";
    let broken = "memory://user:hunter2@host:port";
    for arguments in [
        &["ping", short, short][..],
        &["ping", short, long][..],
        &["ping", long, short][..],
        &["size", short, "q", broken][..],
        &[short][..],
        &["publish", short, "--queue", "q", "--priority", short][..],
        &["consume", short, "--queue", "q", "--count", broken][..],
    ] {
        let line = fails(2, arguments);
        assert!(!line.contains("hunter2") && line.contains("**"), "{line}");
    }
}

#[test]
fn bodies_are_checked_before_anything_is_done() {
    let unreachable = "memory://";
    for (arguments, named) in [
        (&["{\"a\":\n x}"][..], "BODY is not JSON: expected value at line 2 column 2"),
        (&["hello"][..], "BODY is not JSON: expected value at line 1 column 1"),
        (&[][..], "standard input is not JSON: EOF while parsing a value at line 1 column 0"),
        (&["--serializer", "jsno", "1"][..], "did you mean \"json\"?"),
    ] {
        let mut all = vec!["publish", unreachable, "--queue", "q"];
        all.extend(arguments);
        let line = fails(1, &all);
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn transports_lists_all_schemes_with_their_features() {
    let output = kombu(&["transports"]);
    assert_eq!(output.status.code(), Some(0));
    let table = out(&output);
    let row = |feature: &str| {
        let row = table.lines().find(|row| row.split_whitespace().next() == Some(feature));
        row.expect("each feature has a row").split_whitespace().collect::<Vec<_>>()
    };
    let enabled = kombu::transports::enabled();
    for transport in enabled.iter() {
        let row = row(transport.name());
        assert_eq!(row[1], "yes", "{row:?}");
        assert_eq!(row[2..], *transport.schemes(), "{row:?}");
    }
    for (scheme, feature) in kombu::transport::KNOWN_SCHEMES {
        let row = row(feature);
        if !enabled.iter().any(|transport| transport.name() == *feature) {
            assert!(row[1] == "no" && row[2..].contains(scheme), "{row:?}");
        }
    }
    assert!(table.lines().any(|row| row.starts_with("gcpubsub") && row.contains(" no ")));
}

#[test]
fn transports_in_json_say_what_is_compiled_in_and_what_it_can_do() {
    let output = kombu(&["transports", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output).lines().count(), 1);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let entry = |feature: &str| {
        let entries = list.as_array().expect("it is a list");
        entries.iter().find(|entry| entry["feature"] == feature).expect("it is listed").clone()
    };
    let missing = entry("gcpubsub");
    assert_eq!(missing["compiled_in"], false);
    assert!(missing["capabilities"].is_null());
    assert_eq!(missing["schemes"], serde_json::json!(["gcpubsub"]));
    for transport in kombu::transports::enabled().iter() {
        let own = entry(transport.name());
        assert_eq!(own["compiled_in"], true);
        let schemes = own["schemes"].as_array().expect("it is a list");
        assert!(
            schemes.iter().all(|scheme| transport.schemes().contains(&scheme.as_str().unwrap()))
        );
        assert_eq!(schemes.len(), transport.schemes().len());
        for (name, given) in transport.capabilities().iter() {
            assert_eq!(own["capabilities"][name], given, "{name}");
        }
    }
}

#[test]
#[cfg(feature = "amqp")]
fn a_broker_that_cannot_be_reached_is_said_in_one_line() {
    // Nobody listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let one = format!("amqp://user:hunter2@127.0.0.1:{port}//");
    let line = fails(1, &["ping", &one]);
    assert!(line.contains(&format!("amqp://user:**@127.0.0.1:{port}")), "{line}");
    assert!(!line.contains("hunter2"), "{line}");

    let three = [one.as_str(), &one, &one].join(";");
    let line = fails(1, &["publish", &three, "--queue", "q", "1"]);
    assert!(line.contains("all 3 brokers failed"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}
