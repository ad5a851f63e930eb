//! Reading the command line, and saying in one line what is wrong with it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{Error, ErrorKind};
use kombu::BrokerUrls;

use crate::cli::Cli;

/// Reads the command line; help, the version and mistakes are printed, and end with a code.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _closed = error.print();
            ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
        }
        _ => {
            let _closed = writeln!(io::stderr(), "kombu: {}", one_line(&error, arguments));
            ExitCode::from(USAGE)
        }
    })
}

/// The message of a mistake: clap's, without the usage, in one line, without secrets.
fn one_line(error: &Error, arguments: &[OsString]) -> String {
    let text = error.render().to_string();
    let message = text.split("\nUsage:").next().unwrap_or_default();
    let message = message.split("\nFor more information").next().unwrap_or_default();
    let mut line = String::new();
    for part in message.lines() {
        let trimmed = part.trim();
        if trimmed.is_empty() {
            continue;
        }
        line.push_str(match line.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) if part.starts_with(' ') && !trimmed.starts_with("tip:") => ", ",
            Some(_) => "; ",
        });
        line.push_str(trimmed.strip_prefix("error: ").unwrap_or(trimmed));
    }
    // The longest first: one URL may be the start of another.
    let mut urls: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    urls.retain(|argument| argument.contains("://"));
    urls.sort_by_key(|url| std::cmp::Reverse(url.len()));
    for url in urls {
        line = line.replace(&*url, &masked(&url));
    }
    let command = arguments.get(1).map(|name| name.to_string_lossy()).filter(|name| {
        let letters = name.chars().all(|c| c.is_ascii_lowercase());
        letters && error.kind() != ErrorKind::InvalidSubcommand
    });
    let space = if command.is_some() { " " } else { "" };
    format!("{line} (see kombu {}{space}--help)", command.unwrap_or_default())
}

/// A URL as it may be shown; of one that is none, the scheme.
fn masked(argument: &str) -> String {
    match BrokerUrls::parse(argument) {
        Ok(urls) => urls.to_string(),
        Err(_) => {
            let scheme = argument.split("://").next().unwrap_or_default();
            let plain = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c));
            format!("{}://**", if plain { scheme } else { "**" })
        }
    }
}

const USAGE: u8 = 2;
