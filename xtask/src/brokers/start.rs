//! Starts brokers, all at the same time, and waits until every one serves.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::brokers::docker::Compose;
use crate::brokers::install;
use crate::brokers::node::Node;
use crate::brokers::run::{MARK, Run, STATE_VARIABLE, lock, taken_ports};
use crate::brokers::{Broker, Transport, folder, ports, tls};
use crate::flags::With;
use crate::paths;

/// Starts the brokers of the transports into a run.
pub(crate) fn start(run: &Run, transports: &[&'static Transport], with: With) -> Result<()> {
    folder::make(run, transports)?;
    let brokers: Vec<_> =
        transports.iter().flat_map(|transport| transport.brokers).copied().collect();
    if brokers.is_empty() {
        return Ok(());
    }
    if with == With::Local {
        install::brokers(&brokers)?;
    }
    install::tools()?;
    let certificates = run.dir().join("tls");
    tls::make(&certificates)?;
    thread::scope(|scope| {
        let starts: Vec<_> = brokers
            .iter()
            .map(|broker| scope.spawn(|| start_one(run, *broker, &certificates, with)))
            .collect();
        starts.into_iter().try_for_each(|start| {
            start.join().unwrap_or_else(|_| Err(anyhow!("starting a broker panicked")))
        })
    })
}

/// The variables that lead tests to the brokers of a run.
pub(crate) fn exports(run: &Run) -> Result<Vec<(String, String)>> {
    let mut exports = vec![
        ("KOMBU_REQUIRE_BROKERS".to_owned(), "1".to_owned()),
        (STATE_VARIABLE.to_owned(), run.state_file().display().to_string()),
    ];
    exports.extend(folder::exports(run));
    for node in run.load()?.nodes {
        let broker = node.broker()?;
        let variables = broker.exports(&node);
        exports.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        exports.push((
            control_variable(broker.name()),
            format!("{} control {}", run.program().display(), broker.name()),
        ));
    }
    Ok(exports)
}

/// The variable that holds the command which acts on a broker.
pub(crate) fn control_variable(broker: &str) -> String {
    format!("KOMBU_TEST_{}_CONTROL", broker.to_uppercase().replace('-', "_"))
}

/// Prints variables as lines for a shell to evaluate.
pub(crate) fn print_exports(exports: &[(String, String)]) {
    for (name, value) in exports {
        println!("export {name}='{}'", value.replace('\'', "'\\''"));
    }
}

/// Starts one broker and waits until it serves.
fn start_one(run: &Run, broker: &dyn Broker, certificates: &Path, with: With) -> Result<()> {
    let begun = Instant::now();
    {
        // Ports count as taken once they are in a state file: two runs must not choose at once.
        let _lock = lock(&paths::runs()?.join("ports.lock"))?;
        let node = prepare(run, broker, certificates, with)?;
        run.update(|state| {
            state.nodes.push(node);
            Ok(())
        })?;
    }
    run.update(|state| {
        if state.closed {
            bail!("the run is being stopped");
        }
        let node = find(&mut state.nodes, broker)?;
        node.start()
    })?;
    let node = find(&mut run.load()?.nodes, broker)?.clone();
    let version = node.ready()?;
    eprintln!("{} {version} serves after {:.1} s", broker.name(), begun.elapsed().as_secs_f32());
    run.update(|state| {
        find(&mut state.nodes, broker)?.version = Some(version);
        Ok(())
    })
}

/// Writes what a broker needs and describes it, without starting anything.
fn prepare(run: &Run, broker: &dyn Broker, certificates: &Path, with: With) -> Result<Node> {
    let dir = run.dir().join(broker.name());
    fs::create_dir_all(&dir)?;
    let ports =
        ports::pick(&[broker.published_ports(), broker.private_ports()].concat(), &taken_ports()?)?;
    let (processes, compose) = match with {
        With::Docker => {
            let compose = Compose::new(broker, &run.name(), certificates, &ports);
            (Vec::new(), Some(compose))
        }
        With::Env | With::Local => {
            let mut processes = broker.configure(&dir, &ports)?;
            for process in &mut processes {
                let mark = run.dir().display().to_string();
                process.env.insert(MARK.to_owned(), mark);
            }
            (processes, None)
        }
    };
    Ok(Node {
        broker: broker.name().to_owned(),
        dir,
        tls: certificates.to_owned(),
        ports,
        processes,
        compose,
        version: None,
    })
}

/// Finds a broker's node.
fn find<'nodes>(nodes: &'nodes mut [Node], broker: &dyn Broker) -> Result<&'nodes mut Node> {
    nodes
        .iter_mut()
        .find(|node| node.broker == broker.name())
        .ok_or_else(|| anyhow!("{} is not part of this run", broker.name()))
}
