//! Ctrl-C and its like: one sentence, the usual exit status, and nothing half-written, since every file is renamed when it is whole.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::exit;
use std::io::Write;

/// Ends the program in an orderly way at the first such signal, with a word on how to go on. Where the system does not allow it, signals keep their usual
/// effect.
pub(super) fn watch(how: &'static str) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Straight to the end: what other threads hold in memory is made again by the next run.
            let _ = writeln!(std::io::stderr(), "\nstopped  {how}");
            exit(128 + signal);
        }
    });
}
