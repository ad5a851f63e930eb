//! `test-brokers`: the tests of each transport on each of its brokers, and what users hold on one of them.

use std::env;
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::brokers::run::{Run, STATE_VARIABLE};
use crate::brokers::{Broker, Tests, Transport, Variant, install, start, transports};
use crate::examples::Examples;
use crate::features;
use crate::flags::{TestBrokers, With};
use crate::interop;
use crate::interrupt::Interrupt;
use crate::list;
use crate::python;
use crate::suite::{Outcome, TestProgram, build};
use crate::table::Table;

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The transports' own tests, and what users hold.
    All,
    /// What users hold: exchanges with Python, the command, and the examples.
    Interop,
}

/// Runs the command.
pub(crate) fn run(flags: &TestBrokers, scope: Scope, interrupt: &Interrupt) -> Result<()> {
    let chosen = transports(&flags.transports)?;
    if flags.list {
        print!("{}", list::table(&chosen));
        return Ok(());
    }
    let with = flags.with.unwrap_or_default();
    if chosen.iter().any(|transport| transport.name == "etcd") {
        install::protoc()?;
    }
    let features = features::for_transports(&chosen)?;
    let mut run = interrupt.guard(Run::create()?);
    let packages = packages(&chosen, scope);
    let (started, built) = thread::scope(|threads| {
        let starting = threads.spawn(|| prepare(&run, &chosen, with));
        let built = build(interrupt, &packages, &features)
            .and_then(|programs| Ok((programs, Examples::build(interrupt, &packages, &features)?)));
        let started =
            starting.join().unwrap_or_else(|_| Err(anyhow!("starting the brokers panicked")));
        (started, built)
    });
    let environment = started?;
    let (programs, examples) = built?;

    let mut report = Report::new(&run)?;
    for transport in &chosen {
        if scope == Scope::All {
            test(transport, &programs, &environment, &flags.arguments, interrupt, &mut report)?;
        }
        let grounds = grounds(transport, &environment);
        for Ground { name, broker, environment } in &grounds {
            for (tests, outcome) in interop::exchange(transport, &programs, environment, interrupt)?
            {
                report.add(transport.name, name, broker, tests, outcome);
            }
            let outcome = examples.run(transport, environment, interrupt)?;
            report.add(transport.name, name, broker, "examples", outcome);
        }
        if grounds.is_empty() {
            let outcome = examples.run(transport, &environment, interrupt)?;
            report.add(transport.name, "in process", "", "examples", outcome);
        }
    }
    for (script, outcome) in interop::golden(&environment, interrupt)? {
        report.add("any", "none", "", &script, outcome);
    }
    println!("\n{}", report.table);
    if !report.good {
        run.keep_logs();
    }
    if flags.keep {
        start::print_exports(&environment);
        run.release()?.say_how_to_stop();
    } else if !report.good && with != With::Env {
        eprintln!("the brokers' logs stay in {}", run.dir().display());
    }
    if !report.good {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Lines of the closing table.
#[derive(Debug)]
struct Report {
    table: Table,
    good: bool,
    /// Brokers' names and versions.
    versions: Vec<(String, String)>,
}

impl Report {
    fn new(run: &Run) -> Result<Self> {
        let nodes = run.load()?.nodes.into_iter();
        Ok(Self {
            table: Table::new([
                "transport",
                "broker",
                "version",
                "tests",
                "passed",
                "failed",
                "ignored",
                "seconds",
                "",
            ]),
            good: true,
            versions: nodes.map(|node| (node.broker, node.version.unwrap_or_default())).collect(),
        })
    }

    /// Adds what came of one set of tests.
    fn add(&mut self, transport: &str, variant: &str, broker: &str, tests: &str, outcome: Outcome) {
        self.good &= outcome.good();
        let version = self.versions.iter().find(|(name, _)| name == broker);
        let remark = if outcome.good() {
            ""
        } else if outcome.broken > 0 {
            "ended badly"
        } else if outcome.failed > 0 {
            "FAILED"
        } else {
            "no tests ran"
        };
        self.table.push([
            transport.to_owned(),
            variant.to_owned(),
            version.map(|(_, version)| version.clone()).unwrap_or_default(),
            tests.to_owned(),
            outcome.passed.to_string(),
            (outcome.failed + outcome.broken).to_string(),
            outcome.ignored.to_string(),
            format!("{:.1}", outcome.time.as_secs_f32()),
            remark.to_owned(),
        ]);
    }
}

/// Starts brokers and returns the environment of the tests.
fn prepare(run: &Run, chosen: &[&'static Transport], with: With) -> Result<Vec<(String, String)>> {
    let mut environment = if with == With::Env {
        given(chosen)?
    } else {
        start::start(run, chosen, with)?;
        start::exports(run)?
    };
    let interpreter = python::interpreter()?;
    environment.push((python::VARIABLE.to_owned(), interpreter.display().to_string()));
    Ok(environment)
}

/// The variables that were given from outside; every transport that has brokers needs its URL.
fn given(chosen: &[&'static Transport]) -> Result<Vec<(String, String)>> {
    for transport in chosen {
        let url = transport.url_variable();
        if !transport.brokers.is_empty() && env::var_os(&url).is_none() {
            bail!("{url} is not set");
        }
    }
    let mut environment: Vec<_> = env::vars()
        .filter(|(name, _)| name.starts_with("KOMBU_TEST_") || name == STATE_VARIABLE)
        .collect();
    environment.push(("KOMBU_REQUIRE_BROKERS".to_owned(), "1".to_owned()));
    Ok(environment)
}

/// Tests one transport on all its variants.
fn test(
    transport: &Transport,
    programs: &[TestProgram],
    environment: &[(String, String)],
    arguments: &[String],
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<()> {
    let package = package(transport);
    let own: Vec<_> = programs.iter().filter(|program| program.package == package).collect();
    if transport.brokers.is_empty() {
        let outcome = run_all(&own, interrupt, arguments, environment)?;
        report.add(transport.name, "in process", "", "all", outcome);
        return Ok(());
    }
    if in_a_folder(transport, environment) {
        let outcome = run_all(&own, interrupt, arguments, environment)?;
        report.add(transport.name, FOLDER, "", "all", outcome);
    }
    for (broker, variant) in transport.variants() {
        let Some(environment) = for_variant(transport, broker, variant, environment) else {
            println!("\n{} {}: {} is not given", transport.name, variant.name, variant.url);
            continue;
        };
        let (what, chosen, arguments) = selection(variant, &own, arguments);
        let outcome = run_all(&chosen, interrupt, &arguments, &environment)?;
        report.add(transport.name, variant.name, broker.name(), what, outcome);
    }
    Ok(())
}

/// Where what users hold is tried.
struct Ground {
    name: &'static str,
    broker: &'static str,
    environment: Vec<(String, String)>,
}

/// The places where what users hold is tried on a transport: what is only inside a process cannot
/// be shared.
fn grounds(transport: &Transport, environment: &[(String, String)]) -> Vec<Ground> {
    let folder = in_a_folder(transport, environment).then(|| Ground {
        name: FOLDER,
        broker: "",
        environment: environment.to_vec(),
    });
    let whole = transport.variants().filter(|(_, variant)| variant.tests == Tests::All);
    let served = whole.filter_map(|(broker, variant)| {
        let environment = for_variant(transport, broker, variant, environment)?;
        Some(Ground { name: variant.name, broker: broker.name(), environment })
    });
    folder.into_iter().chain(served).collect()
}

/// Whether the transport has a broker that is a folder or a file.
fn in_a_folder(transport: &Transport, environment: &[(String, String)]) -> bool {
    let url = transport.url_variable();
    environment.iter().any(|(name, _)| *name == url)
        && !transport.variants().any(|(_, variant)| variant.url == url)
}

/// What tables call such a broker.
const FOLDER: &str = "folder";

/// Which programs a variant runs, what to call them, and with which arguments.
fn selection<'programs>(
    variant: &Variant,
    own: &[&'programs TestProgram],
    arguments: &[String],
) -> (&'static str, Vec<&'programs TestProgram>, Vec<String>) {
    match variant.tests {
        Tests::All => ("all", own.to_vec(), arguments.to_vec()),
        Tests::Conformance => {
            let conformance = own.iter().copied();
            let skip = ["--skip", "recovery"].map(str::to_owned);
            (
                "conformance",
                conformance.filter(|program| program.target == "conformance").collect(),
                [arguments, &skip].concat(),
            )
        }
    }
}

/// The environment with the transport's URL that of the variant, and its control that of the
/// variant's broker; none if there is no such URL.
fn for_variant(
    transport: &Transport,
    broker: &dyn Broker,
    variant: &Variant,
    environment: &[(String, String)],
) -> Option<Vec<(String, String)>> {
    let (_, url) = environment.iter().find(|(name, _)| name == variant.url)?;
    let control = start::control_variable(broker.name());
    let control = environment.iter().find(|(name, _)| *name == control);
    let control =
        control.map(|(_, command)| (start::control_variable(transport.name), command.clone()));
    let url = (transport.url_variable(), url.clone());
    let mut environment = environment.to_vec();
    environment.retain(|(name, _)| *name != url.0);
    environment.push(url);
    environment.push(("KOMBU_TEST_VARIANT".to_owned(), variant.name.to_owned()));
    environment.extend(control);
    Some(environment)
}

/// Runs programs one after the other.
fn run_all(
    programs: &[&TestProgram],
    interrupt: &Interrupt,
    arguments: &[String],
    environment: &[(String, String)],
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for program in programs {
        outcome.add(program.run(interrupt, arguments, environment)?);
    }
    Ok(outcome)
}

/// The transport's package.
fn package(transport: &Transport) -> String {
    format!("kombu-transport-{}", transport.name)
}

/// What is built: the transports, and what users hold.
fn packages(chosen: &[&'static Transport], scope: Scope) -> Vec<String> {
    let mut packages: Vec<_> = interop::packages().collect();
    if scope == Scope::All {
        packages.extend(chosen.iter().map(|transport| package(transport)));
    }
    packages
}
