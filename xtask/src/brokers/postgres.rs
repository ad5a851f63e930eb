//! PostgreSQL: one server that takes connections with and without TLS.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getuid};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// A broker of the `sql` transport.
#[derive(Debug)]
pub(crate) struct Postgres;

/// Where Debian has the programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

impl Broker for Postgres {
    fn name(&self) -> &'static str {
        "sql-postgres"
    }

    fn image(&self) -> &'static str {
        "postgres:15"
    }

    fn version(&self) -> &'static str {
        "15"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "postgres", url: "KOMBU_TEST_SQL_POSTGRES_URL", tests: Tests::All },
            Variant {
                name: "postgres-tls",
                url: "KOMBU_TEST_SQL_POSTGRES_TLS_URL",
                tests: Tests::Conformance,
            },
        ]
    }

    fn installed(&self) -> bool {
        Path::new(PROGRAMS).join("postgres").exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn stop_signal(&self) -> Signal {
        // SIGTERM would wait for clients to go.
        Signal::INT
    }

    fn has_workers(&self) -> bool {
        true
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = ports.get("plain").context("no port")?;
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        let password = dir.join("password");
        fs::write(&password, "kombupw")?;
        // The server wants a key that nobody else can read; that of the run can be read by all.
        let [certificate, key] = ["server.pem", "server.key"].map(|file| dir.join(file));
        for file in [&certificate, &key] {
            let name = file.file_name().context("no name")?;
            fs::copy(dir.join("../tls").join(name), file)?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        }
        if getuid().is_root() {
            let (user, group) = owner()?;
            for path in [dir, &data, &password, &certificate, &key] {
                chown(path, Some(user), Some(group))
                    .with_context(|| format!("cannot give {} away", path.display()))?;
            }
        }
        let show = |path: &Path| path.display().to_string();
        run(
            as_user(&[
                &program("initdb"),
                "--pgdata",
                &show(&data),
                "--username=kombu",
                "--pwfile",
                &show(&password),
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]),
            dir,
            "",
        )?;
        let single = [&program("postgres"), "--single", "-D", &show(&data), "postgres"];
        run(as_user(&single), dir, "CREATE DATABASE kombu\n")?;
        let start = dir.join("start.sh");
        fs::write(&start, include_str!("../../../ci/postgres/start.sh"))?;
        let mut command = ["sh", &show(&start), &show(&data)].map(str::to_owned).to_vec();
        let server = as_user(&[&program("postgres"), "-D", &show(&data), "-p", &port.to_string()]);
        command.extend(server);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", dir.display()),
            "max_connections=300".to_owned(),
            // The machine does not crash, only the server does.
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", show(&certificate)),
            format!("ssl_key_file={}", show(&key)),
        ] {
            command.extend(["-c".to_owned(), setting]);
        }
        Ok(vec![Process {
            name: "postgres".to_owned(),
            server: true,
            command,
            env: environment(),
            log: dir.join("postgres.log"),
            id: None,
        }])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        let version = ask(node, "SHOW server_version")?;
        Ok(version.split(' ').next().unwrap_or_default().trim().to_owned())
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let port = node.port("plain");
        let trust = node.tls.join("ca.pem").display().to_string();
        vec![
            (
                "KOMBU_TEST_SQL_POSTGRES_URL",
                format!("sqla+postgresql+psycopg://kombu:kombupw@127.0.0.1:{port}/kombu"),
            ),
            (
                "KOMBU_TEST_SQL_POSTGRES_TLS_URL",
                format!(
                    "sqla+postgresql://kombu:kombupw@localhost:{port}/kombu?ssl_ca_certs={trust}"
                ),
            ),
        ]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drop-connections"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            "drop-connections" => ask(
                node,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .map(drop),
            _ => bail!("no action {action}"),
        }
    }
}

/// Asks the server as its superuser.
fn ask(node: &Node, statement: &str) -> Result<String> {
    let (program, port) = match node.compose {
        Some(_) => ("psql".to_owned(), "5432".to_owned()),
        None => (program("psql"), node.port("plain").to_string()),
    };
    let url = format!("postgresql://kombu:kombupw@127.0.0.1:{port}/kombu?connect_timeout=5");
    node.tool(
        &program,
        &[&url, "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement],
    )
}

fn program(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}

/// The same command as a user whom the server serves; it refuses root. The folders above its own
/// are root's alone, so that it needs the right to go through them.
fn as_user(command: &[&str]) -> Vec<String> {
    let change = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--init-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ];
    let change: &[&str] = if getuid().is_root() { &change } else { &[] };
    change.iter().chain(command).map(|word| (*word).to_owned()).collect()
}

/// The numbers of the user and group `postgres`, which the Debian package makes.
fn owner() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let user = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = user.context("there is no user postgres")?.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok());
    let (user, group) = (number(), number());
    user.zip(group).context("the user postgres has no numbers")
}

fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ("PATH".to_owned(), format!("{PROGRAMS}:/usr/local/bin:/usr/bin:/bin")),
    ])
}

/// Runs a command to its end, with text as its input.
fn run(command: Vec<String>, dir: &Path, input: &str) -> Result<()> {
    let mut words = command.into_iter();
    let name = words.next().map(PathBuf::from).context("an empty command")?;
    let mut child = Command::new(&name)
        .args(words)
        .env_clear()
        .envs(environment())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", name.display()))?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{} ended with {}: {}",
            name.display(),
            output.status,
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}
