//! Runs the cases: each in both directions, with its own peers and a limit.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::time::timeout;

use crate::case::{Case, Direction, PYTHON_ONLY};
use crate::cases;
use crate::failure::{Failure, Result};
use crate::pair::Pair;
use crate::stage::Stage;
use crate::transport::{Ground, Obstacle, Transport, runtime};

/// Runs all cases on all transports, as a test program.
pub(crate) fn run(transports: &[Transport]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = Vec::new();
    for transport in transports {
        let ground = Arc::new(OnceLock::new());
        for case in cases::all() {
            for direction in Direction::BOTH {
                if case.belongs(transport.name, direction) {
                    trials.push(trial(*transport, &ground, case, direction, None));
                }
            }
            let again = case.is_about_messages().then_some(transport.also_with);
            for option in again.into_iter().flatten() {
                let direction = Direction::RustToPython;
                if case.belongs(transport.name, direction) {
                    trials.push(trial(*transport, &ground, case, direction, Some(*option)));
                }
            }
        }
    }
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        LAST_PANIC.set(panic.to_string());
        default(panic);
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    transport: Transport,
    ground: &Arc<OnceLock<Result<Ground, Obstacle>>>,
    case: Case,
    direction: Direction,
    option: Option<RustOption>,
) -> Trial {
    let mut name = format!("{}::{}::{}", transport.name, case.name, direction.name());
    if let Some((option, value)) = option {
        name = format!("{name}::{option}_{value}");
    }
    let ground = Arc::clone(ground);
    Trial::ignorable_test(name, move || {
        let ground = match ground.get_or_init(|| transport.prepare()) {
            Ok(ground) => ground,
            Err(obstacle) if obstacle.failure => return Err(Failed::from(&obstacle.reason)),
            Err(obstacle) => return Ok(Completion::ignored_with(obstacle.reason.as_str())),
        };
        if let Some(lack) = lack(ground, case)? {
            return Ok(Completion::ignored_with(lack));
        }
        play(ground, case, direction, option).map(|()| Completion::Completed).map_err(Failed::from)
    })
}

/// Why the case cannot be run here.
fn lack(ground: &Ground, case: Case) -> Result<Option<String>, Failed> {
    for need in case.abilities() {
        match ground.can.has(need) {
            None if !PYTHON_ONLY.contains(&need) => {
                return Err(Failed::from(format!("the case needs {need:?}, which is nothing")));
            }
            Some(false) => return Ok(Some(format!("the broker has no {need}"))),
            _ if ground.transport.python_lacks.contains(&need) => {
                return Ok(Some(format!("Python's Kombu has no {need} here")));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Plays a case to its end or its limit, and deletes what it declared.
fn play(
    ground: &Ground,
    case: Case,
    direction: Direction,
    option: Option<RustOption>,
) -> Result<()> {
    let runtime = runtime()?;
    let stage = Arc::new(Stage::new(ground.clone(), option));
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let played = timeout(LIMIT, async {
                let mut pair = Pair::new(&stage, direction).await?;
                (case.act)(&mut pair).await
            });
            let late = || Failure::own(format!("the case did not end within {LIMIT:?}"));
            played.await.unwrap_or_else(|_elapsed| Err(late()))
        })
    }));
    runtime.block_on(stage.clear());
    runtime.shutdown_timeout(Duration::from_secs(5));
    result.unwrap_or_else(|_panic| Err(Failure::own(LAST_PANIC.take())))
}

thread_local! {
    /// What this thread's last panic said, and where: a case is played on one thread.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// An option of the Rust side and its value.
pub(crate) type RustOption = (&'static str, &'static str);

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How many cases run at once; they mostly wait.
const THREADS: usize = 4;
