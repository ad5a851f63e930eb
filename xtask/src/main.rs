//! The workspace's own commands; `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

fn main() {
    println!();
    eprintln!();
}
