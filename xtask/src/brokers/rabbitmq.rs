//! RabbitMQ: one node with a plain and a TLS listener, certificate logins and the management API.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::{amqp_version, connect, http_get, until};
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `amqp` transport.
#[derive(Debug)]
pub(crate) struct RabbitMq;

/// Debian's folder of scripts that, unlike those on the PATH, run as whoever calls them.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// `guest:guest`, as HTTP wants it.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";
/// A tool waits this long at most, for instance for a node that is frozen.
const TOOL_SECONDS: &str = "60";
/// How long an alarm may take to be raised or lifted.
const ALARM: Duration = Duration::from_secs(30);

impl Broker for RabbitMq {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn image(&self) -> &'static str {
        "rabbitmq:3.10.8-management"
    }

    fn version(&self) -> &'static str {
        "3.10.8"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "plain", url: "KOMBU_TEST_AMQP_URL", tests: Tests::All },
            Variant { name: "tls", url: "KOMBU_TEST_AMQP_TLS_URL", tests: Tests::Conformance },
            Variant {
                name: "external",
                url: "KOMBU_TEST_AMQP_EXTERNAL_URL",
                tests: Tests::Conformance,
            },
        ]
    }

    fn installed(&self) -> bool {
        Path::new(SCRIPTS).join("rabbitmq-server").exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain", "tls", "management"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &["distribution", "epmd"]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        for folder in ["home", "log", "mnesia"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("rabbitmq.conf"), configuration(dir, ports)?)?;
        fs::write(
            dir.join("definitions.json"),
            include_str!("../../../ci/rabbitmq/definitions.json"),
        )?;
        fs::write(
            dir.join("enabled_plugins"),
            include_str!("../../../ci/rabbitmq/enabled_plugins"),
        )?;
        let env = environment(dir, ports)?;
        let epmd = ports.get("epmd").context("no port")?.to_string();
        // The name service that the server would start by itself would be nobody's to stop.
        let names = Process {
            name: "epmd".to_owned(),
            server: false,
            command: ["epmd", "-port", &epmd, "-address", "127.0.0.1"].map(str::to_owned).to_vec(),
            env: env.clone(),
            log: dir.join("log/epmd.log"),
            id: None,
        };
        let server = Process {
            name: "rabbitmq".to_owned(),
            server: true,
            command: vec![format!("{SCRIPTS}/rabbitmq-server")],
            env,
            log: dir.join("log/console.log"),
            id: None,
        };
        Ok(vec![names, server])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        let version = amqp_version(node.port("plain"))?;
        // The last of the listeners to open.
        connect(node.port("tls"))?;
        let (status, _) = http_get(node.port("management"), "/api/whoami", GUEST)?;
        if status != 200 {
            bail!("the management API answers {status}");
        }
        Ok(version)
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let (plain, tls) = (node.port("plain"), node.port("tls"));
        let file = |name: &str| node.tls.join(name).display().to_string();
        let trust = format!("ssl_ca_certs={}", file("ca.pem"));
        let identity =
            format!("ssl_certfile={}&ssl_keyfile={}", file("client.pem"), file("client.key"));
        vec![
            ("KOMBU_TEST_AMQP_URL", format!("amqp://guest:guest@127.0.0.1:{plain}//")),
            ("KOMBU_TEST_AMQP_TLS_URL", format!("amqps://guest:guest@localhost:{tls}//?{trust}")),
            (
                "KOMBU_TEST_AMQP_EXTERNAL_URL",
                format!("amqps://localhost:{tls}//?{trust}&{identity}&login_method=EXTERNAL"),
            ),
            ("KOMBU_TEST_AMQP_ALICE_URL", format!("amqp://alice:alicepw@127.0.0.1:{plain}/second")),
            (
                "KOMBU_TEST_AMQP_API",
                format!("http://guest:guest@127.0.0.1:{}", node.port("management")),
            ),
        ]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drop-connections", "stop-app", "start-app", "set-alarm", "clear-alarm"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            "drop-connections" => ctl(node, &["close_all_connections", "dropped by a test"]),
            "stop-app" => ctl(node, &["stop_app"]),
            "start-app" => {
                ctl(node, &["start_app"])?;
                node.ready().map(drop)
            }
            "set-alarm" => {
                ctl(node, &["set_vm_memory_high_watermark", "0.00001"])?;
                alarm(node, true)
            }
            "clear-alarm" => {
                ctl(node, &["set_vm_memory_high_watermark", "0.4"])?;
                alarm(node, false)
            }
            _ => bail!("no action {action}"),
        }
    }
}

/// The configuration file: what all RabbitMQs of the tests share, and this one's addresses and paths.
fn configuration(dir: &Path, ports: &Ports) -> Result<String> {
    let port = |name| ports.get(name).context("no port");
    let dir = dir.display();
    // Certificates are the run's, beside the broker's own folder.
    Ok(format!(
        "{common}\n\
         listeners.tcp.1 = 127.0.0.1:{plain}\n\
         listeners.ssl.1 = 127.0.0.1:{tls}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n\
         ssl_options.cacertfile = {dir}/../tls/ca.pem\n\
         ssl_options.certfile = {dir}/../tls/server.pem\n\
         ssl_options.keyfile = {dir}/../tls/server.key\n\
         load_definitions = {dir}/definitions.json\n",
        common = include_str!("../../../ci/rabbitmq/common.conf"),
        plain = port("plain")?,
        tls = port("tls")?,
        management = port("management")?,
    ))
}

/// The environment that keeps this node apart from every other one on the machine.
fn environment(dir: &Path, ports: &Ports) -> Result<BTreeMap<String, String>> {
    let port = |name| ports.get(name).context("no port");
    let path = |name: &str| dir.join(name).display().to_string();
    let system_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let variables = [
        ("HOME", path("home")),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", format!("{SCRIPTS}:{system_path}")),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("ERL_EPMD_PORT", port("epmd")?.to_string()),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_DIST_PORT", port("distribution")?.to_string()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", path("schema")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_NODENAME", "kombu@localhost".to_owned()),
        ("RABBITMQ_PID_FILE", path("pid")),
        // Two schedulers that do not spin while idle: the tests need the processor too.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
                .to_owned(),
        ),
        // The script then becomes the server instead of waiting for it: one process, one id.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
    ];
    Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Runs `rabbitmqctl`.
fn ctl(node: &Node, arguments: &[&str]) -> Result<()> {
    let program = match node.compose {
        Some(_) => "rabbitmqctl".to_owned(),
        None => format!("{SCRIPTS}/rabbitmqctl"),
    };
    let arguments = [&["--quiet", "--timeout", TOOL_SECONDS], arguments].concat();
    node.tool(&program, &arguments).map(drop)
}

/// Waits until the memory alarm is, or is no longer, in effect.
fn alarm(node: &Node, raised: bool) -> Result<()> {
    let path = "/api/health/checks/local-alarms";
    let expected = if raised { 503 } else { 200 };
    until(ALARM, || {
        let (status, body) = http_get(node.port("management"), path, GUEST)?;
        if status != expected {
            bail!("alarms: {status} {body}");
        }
        Ok(())
    })
}
