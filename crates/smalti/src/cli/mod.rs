//! The command line: flags become requests, outcomes become text or JSON, errors become one sentence with a hint.

mod args;
mod bench;
mod cache;
mod compress;
mod demo;
mod distill;
mod inspect;
mod interrupt;
mod methods;
mod observe;
mod relabel;
mod report;
mod train;

use crate::error::{exit_status, hint_of};
use crate::ui::{self, Ui, Volume};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::Write;

const AFTER: &str = "\
Exit status: 0 done, 1 failed, 2 wrong use, 3 done but some images were skipped (bench and demo
only warn of them), 130 stopped by Ctrl-C, 143 by SIGTERM.";

/// Compress a labelled image data set to N images per class, and measure what the result is worth.
#[derive(Debug, Parser)]
#[command(name = "smalti", version, after_help = AFTER, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing but warnings and results
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at a data set: classes, counts, sizes, unreadable and duplicate images
    #[command(after_help = inspect::EXAMPLE)]
    Inspect(args::Inspect),
    /// Compress a data set to N images per class
    #[command(after_help = compress::EXAMPLE)]
    Compress(Box<args::Compress>),
    /// Make N synthetic images per class whose statistics are those of a trained network
    #[command(after_help = distill::EXAMPLE)]
    Distill(Box<args::Distill>),
    /// Train a student on a compressed or any labelled set and measure it
    #[command(after_help = train::EXAMPLE)]
    Train(Box<args::Train>),
    /// Store what a teacher says of every view of a training, so that students learn soft labels without it
    #[command(after_help = relabel::EXAMPLE)]
    Relabel(Box<args::Relabel>),
    /// Measure how uncertain a network is of sets, and what their labels cost it
    #[command(after_help = observe::EXAMPLE)]
    Observe(Box<args::Observe>),
    /// Read a compressed set back and check every file, size, hash, label and count
    #[command(after_help = compress::VERIFY_EXAMPLE)]
    Verify(args::Verify),
    /// Run a recipe of methods, seeds and students; a rerun skips what is finished
    #[command(after_help = bench::EXAMPLE)]
    Bench(args::Bench),
    /// Write the page of a finished or running bench
    #[command(after_help = report::EXAMPLE)]
    Report(args::Report),
    /// Paint a small data set, compress it four ways, train on each, and show the result
    #[command(after_help = demo::EXAMPLE)]
    Demo(args::Demo),
    /// List or clean what was trained before and is kept for the next run
    #[command(after_help = cache::EXAMPLE)]
    Cache(args::Cache),
    /// List presets, metrics, rules, networks, augmentations and protocols
    #[command(after_help = methods::EXAMPLE)]
    Methods(args::Methods),
}

impl Command {
    /// How a run of it that was stopped goes on.
    fn goes_on(&self) -> &'static str {
        const SAME: &str = "the same command goes on where this one was";
        const UNFORCED: &str = "without --force, the same command goes on where this one was";
        match self {
            Command::Compress(args) if args.force => UNFORCED,
            Command::Distill(args) if args.force => UNFORCED,
            Command::Compress(_) | Command::Distill(_) | Command::Relabel(_) | Command::Bench(_) | Command::Demo(_) => {
                SAME
            }
            _ => "the same command begins anew",
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// `--json`.
    Json,
}

/// What a command has to say about the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// 0.
    All,
    /// 3: some images were skipped.
    WithSkips,
}

impl Done {
    fn skipping(skipped: usize) -> Done {
        if skipped > 0 { Done::WithSkips } else { Done::All }
    }
}

/// Runs the program on the process's arguments and returns its exit status.
pub fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    interrupt::watch(cli.command.goes_on());
    match dispatch(&cli) {
        Ok(Done::All) => 0,
        Ok(Done::WithSkips) => 3,
        Err(error) => {
            tell(&error);
            exit_status(&error)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Done> {
    let ui = Ui { volume: if cli.quiet { Volume::Quiet } else { Volume::Normal } };
    let form = if cli.json { Form::Json } else { Form::Text };
    match &cli.command {
        Command::Inspect(args) => inspect::run(args, form, &ui),
        Command::Compress(args) => compress::run(args, form, &ui),
        Command::Distill(args) => distill::run(args, form, &ui),
        Command::Train(args) => train::run(args, form, &ui),
        Command::Relabel(args) => relabel::run(args, form, &ui),
        Command::Observe(args) => observe::run(args, form, &ui),
        Command::Verify(args) => compress::verify(args, form),
        Command::Bench(args) => bench::run(args, form, &ui),
        Command::Report(args) => report::run(args, form, &ui),
        Command::Demo(args) => demo::run(args, form, &ui),
        Command::Cache(args) => cache::run(args, form),
        Command::Methods(args) => methods::run(args, form),
    }
}

/// The error, its causes that say something new, and the next step.
fn tell(error: &anyhow::Error) {
    let mut said = error.to_string();
    ui::tell(format_args!("error: {said}"));
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            ui::tell(format_args!("  cause: {text}"));
            said = text;
        }
    }
    if let Some(hint) = hint_of(error) {
        ui::tell(format_args!("  hint: {hint}"));
    }
}

/// Prints a result. A reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound_and_every_command_shows_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("smalti "), "{}", command.get_name());
        }
    }
}
