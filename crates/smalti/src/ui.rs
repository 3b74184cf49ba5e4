//! Talk: stages, progress and remarks go to standard error; results go to standard output.

use crate::report::words::{seconds, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seconds between the lines that stand for a bar in a log.
const BETWEEN_LINES: u64 = 300;

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

/// A line on standard error. A reader that has gone away, or a full disk, stops no run.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Ui {
    /// One remark: `prune    easy-first by el2n: kept 400 of 8,522`.
    pub fn say(&self, stage: &str, text: impl AsRef<str>) {
        if self.volume == Volume::Normal {
            tell(format_args!("{stage:<8} {}", text.as_ref()));
        }
    }

    /// Something the user should know; quiet does not silence it.
    pub fn warn(&self, text: impl AsRef<str>) {
        tell(format_args!("warning: {}", text.as_ref()));
    }

    /// A bar with rate and time left on terminals, and a line every five minutes elsewhere. `unit` is what is counted: `images`.
    pub fn progress(&self, stage: &str, detail: &str, total: u64, unit: &str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let visible = self.volume == Volume::Normal && terminal;
        let lines = (self.volume == Volume::Normal && !terminal).then(|| Lines::new(stage, detail, total, unit));
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
        Progress { bar, start: Instant::now(), lines }
    }
}

fn rate(state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write) {
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// A running stage.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    /// Where no terminal shows the bar.
    lines: Option<Lines>,
}

/// What a log says now and then.
struct Lines {
    head: String,
    total: u64,
    unit: String,
    /// Seconds after the start at which the next is due.
    next: AtomicU64,
}

impl Lines {
    fn new(stage: &str, detail: &str, total: u64, unit: &str) -> Lines {
        let colon = if detail.is_empty() { "" } else { ": " };
        let head = format!("{stage:<8} {detail}{colon}");
        Lines { head, total, unit: unit.to_owned(), next: AtomicU64::new(BETWEEN_LINES) }
    }

    /// The line that is due when `done` units took so long. Of several threads that come at once only one has it.
    fn due(&self, done: u64, elapsed: Duration) -> Option<String> {
        let (now, next) = (elapsed.as_secs(), self.next.load(Ordering::Relaxed));
        let mine = now >= next
            && self.next.compare_exchange(next, now + BETWEEN_LINES, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
        mine.then(|| {
            let left = seconds(self.total.saturating_sub(done) as f64 / rate.max(1e-9));
            let (done, total) = (thousands(done), thousands(self.total));
            format!("{}{done} of {total} {}, {rate:.0}/s, about {left} left", self.head, self.unit)
        })
    }
}

impl Progress {
    /// Counts `n` more units; may be called from any thread.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
        let line = self.lines.as_ref().and_then(|lines| lines.due(self.bar.position(), self.start.elapsed()));
        line.iter().for_each(tell);
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
    fn a_log_has_a_line_every_five_minutes() {
        let lines = Lines::new("train", "teacher seed 0", 675_000, "images");
        let due = |done, at| lines.due(done, Duration::from_secs(at));
        assert_eq!(due(44_000, 299), None);
        let line = due(45_000, 300).expect("five minutes are over");
        assert_eq!(line, "train    teacher seed 0: 45,000 of 675,000 images, 150/s, about 1 h 10 min left");
        assert_eq!(due(45_100, 301), None, "said already");
        assert!(due(675_000, 5000).expect("late").ends_with("135/s, about 0.0 s left"));
        assert_eq!(due(675_000, 5299), None);
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(
            [count(1, "class"), count(2, "class"), count(2000, "image")],
            ["1 class", "2 classes", "2,000 images"]
        );
    }
}
