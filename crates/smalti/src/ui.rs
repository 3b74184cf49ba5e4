//! Talk: stages, progress and remarks go to standard error; results go to standard output.

use crate::report::words::thousands;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How much the program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Volume {
    /// Stages, progress and warnings.
    #[default]
    Normal,
    /// Warnings only.
    Quiet,
}

/// Where remarks go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ui {
    /// How much is said.
    pub volume: Volume,
}

impl Ui {
    /// One remark: `prune    easy-first by el2n: kept 400 of 8,522`.
    pub fn say(&self, stage: &str, text: impl AsRef<str>) {
        if self.volume == Volume::Normal {
            eprintln!("{stage:<8} {}", text.as_ref());
        }
    }

    /// Something the user should know; quiet does not silence it.
    pub fn warn(&self, text: impl AsRef<str>) {
        eprintln!("warning: {}", text.as_ref());
    }

    /// A bar with rate and time left, drawn on terminals only. `unit` is what is counted: `images`.
    pub fn progress(&self, stage: &str, detail: &str, total: u64, unit: &str) -> Progress {
        let visible = self.volume == Volume::Normal && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = format!(
            "{stage:<8} {{msg}} {{wide_bar:.cyan/black}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}} left"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.with_key("per_sec", rate));
        }
        bar.set_message(detail.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress { bar, start: Instant::now() }
    }
}

fn rate(state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write) {
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// A running stage.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// Counts `n` more units; may be called from any thread.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Takes the bar away and returns the seconds since it was put up.
    pub fn done(&self) -> f64 {
        self.bar.finish_and_clear();
        self.start.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `1 image`, `2,000 images`.
pub fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{} {}", thousands(n), plural(thing)) }
}

fn plural(thing: &str) -> String {
    match thing.strip_suffix('s') {
        Some(stem) => format!("{stem}ses"),
        None => format!("{thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_well() {
        assert_eq!(
            [count(1, "class"), count(2, "class"), count(2000, "image")],
            ["1 class", "2 classes", "2,000 images"]
        );
    }
}
