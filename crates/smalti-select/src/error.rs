//! Errors name the thing, the place and the next step.

/// What went wrong while scoring or choosing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Tables or files.
    #[error(transparent)]
    Data(#[from] smalti_data::Error),
    /// The input does not allow what was asked; `hint` is the way out.
    #[error("{what}")]
    Input {
        /// The thing and the place.
        what: String,
        /// The next step.
        hint: String,
    },
    /// The query engine refused a metric's SQL, or stopped while computing it.
    #[error("cannot compute the metric `{metric}`: {cause}")]
    Query {
        /// The metric, or several that share a query.
        metric: String,
        /// The engine's own words.
        cause: String,
    },
}

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Input`] from its two sentences.
    pub fn input(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Input { what: what.into(), hint: hint.into() }
    }

    /// The next step for the person who reads the error, where there is one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Data(error) => error.hint(),
            Error::Input { hint, .. } => Some(hint),
            Error::Query { .. } => None,
        }
    }
}
