//! Errors name the thing, the place and the next step.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// What went wrong with images, tables or files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as an infinitive: `read`, `create`.
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's own answer.
        source: std::io::Error,
    },
    /// A Parquet file that is damaged, or is not the table it should be.
    #[error("cannot read the table `{}`: {cause}", path.display())]
    Table {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A tar file that is damaged, or uses a form of tar that is not read.
    #[error("cannot read the archive `{}`: {cause}", path.display())]
    Archive {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The bytes of one image do not decode.
    #[error("cannot decode the image: {cause}")]
    Decode {
        /// What the decoder found.
        cause: String,
    },
    /// The input does not allow what was asked; `hint` is the way out.
    #[error("{what}")]
    Input {
        /// The thing and the place.
        what: String,
        /// The next step.
        hint: String,
    },
}

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of others on bytes from anywhere; should it panic, the answer is none, nothing is printed, and the program goes on.
///
/// What `work` has borrowed must not be used again after a none, or not matter.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A panic that becomes an error is told as that error, once.
            if !GUARDED.try_with(Cell::get).unwrap_or(false) {
                before(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    outcome.ok()
}

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The next step for the person who reads the error, where there is one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Input { hint, .. } => Some(hint),
            _ => None,
        }
    }

    /// An [`Error::Input`] from its two sentences.
    pub fn input(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Input { what: what.into(), hint: hint.into() }
    }

    /// An [`Error::Table`] about `path`.
    pub fn table(path: &Path, cause: impl ToString) -> Error {
        Error::Table { path: path.to_owned(), cause: cause.to_string() }
    }

    /// An adapter for `map_err`: names the action and the path of an I/O error.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}
