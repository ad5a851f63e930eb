//! MariaDB: one server that takes connections with and without TLS.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// A broker of the `sql` transport.
#[derive(Debug)]
pub(crate) struct MariaDb;

/// Where Debian has the server.
const SERVER: &str = "/usr/sbin/mariadbd";

impl Broker for MariaDb {
    fn name(&self) -> &'static str {
        "sql-mariadb"
    }

    fn image(&self) -> &'static str {
        "mariadb:10.11"
    }

    fn version(&self) -> &'static str {
        "10.11"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "mariadb", url: "KOMBU_TEST_SQL_MARIADB_URL", tests: Tests::All },
            Variant {
                name: "mariadb-tls",
                url: "KOMBU_TEST_SQL_MARIADB_TLS_URL",
                tests: Tests::Conformance,
            },
        ]
    }

    fn installed(&self) -> bool {
        Path::new(SERVER).exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = ports.get("plain").context("no port")?;
        let show = |name: &str| dir.join(name).display().to_string();
        let user = if rustix::process::getuid().is_root() { &["--user=root"][..] } else { &[] };
        let output = Command::new("/usr/bin/mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", show("data")))
            .args(user)
            .stdin(Stdio::null())
            .output()
            .context("cannot run mariadb-install-db")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("mariadb-install-db: {}", String::from_utf8_lossy(&said));
        }
        fs::write(dir.join("init.sql"), include_str!("../../../ci/mariadb/init.sql"))?;
        let mut command = vec![SERVER.to_owned(), "--no-defaults".to_owned()];
        command.extend(user.iter().map(|word| (*word).to_owned()));
        command.extend([
            format!("--datadir={}", show("data")),
            format!("--socket={}", show("socket")),
            format!("--pid-file={}", show("pid")),
            format!("--init-file={}", show("init.sql")),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--max-connections=300".to_owned(),
            // The machine does not crash, only the server does.
            "--innodb-flush-log-at-trx-commit=2".to_owned(),
            "--skip-name-resolve".to_owned(),
            // Certificates are the run's, beside the broker's own folder.
            format!("--ssl-ca={}", show("../tls/ca.pem")),
            format!("--ssl-cert={}", show("../tls/server.pem")),
            format!("--ssl-key={}", show("../tls/server.key")),
        ]);
        Ok(vec![Process {
            name: "mariadb".to_owned(),
            server: true,
            command,
            env: BTreeMap::from([
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
                ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ]),
            log: dir.join("mariadb.log"),
            id: None,
        }])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        let version = ask(node, "SELECT VERSION()")?;
        Ok(version.split('-').next().unwrap_or_default().trim().to_owned())
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let port = node.port("plain");
        let trust = node.tls.join("ca.pem").display().to_string();
        vec![
            (
                "KOMBU_TEST_SQL_MARIADB_URL",
                format!("sqla+mysql+pymysql://kombu:kombupw@127.0.0.1:{port}/kombu"),
            ),
            (
                "KOMBU_TEST_SQL_MARIADB_TLS_URL",
                format!("sqla+mysql://kombu:kombupw@localhost:{port}/kombu?ssl_ca_certs={trust}"),
            ),
        ]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drop-connections"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            // A user may end connections of its own; this one is the last to go.
            "drop-connections" => {
                let others = ask(
                    node,
                    "SELECT id FROM information_schema.processlist \
                     WHERE user = 'kombu' AND id <> CONNECTION_ID()",
                )?;
                for id in others.split_whitespace() {
                    // Gone by itself meanwhile is as good.
                    let _gone = ask(node, &format!("KILL {id}"));
                }
                Ok(())
            }
            _ => bail!("no action {action}"),
        }
    }
}

/// Asks the server as the user of the tests.
fn ask(node: &Node, statement: &str) -> Result<String> {
    let port = match node.compose {
        Some(_) => 3306,
        None => node.port("plain"),
    };
    let port = format!("--port={port}");
    node.tool(
        "mariadb",
        &[
            "--no-defaults",
            "--protocol=tcp",
            "--host=127.0.0.1",
            &port,
            "--user=kombu",
            "--password=kombupw",
            "--connect-timeout=5",
            "--skip-ssl",
            "--batch",
            "--skip-column-names",
            "--execute",
            statement,
            "kombu",
        ],
    )
}
