//! How fast this machine works, by a short try.

use anyhow::Result;

/// Seconds that a try may take, about.
const SECONDS: f64 = 2.0;

/// Steps a second, where `run` does so many and says its seconds: `first` of them to warm up, which tell how many fit into about two seconds.
///
/// # Errors
/// Those of `run`.
pub fn steps_per_second(first: u64, run: impl Fn(u64) -> Result<f64>) -> Result<f64> {
    let each = run(first)? / first.max(1) as f64;
    let steps = ((SECONDS / each.max(1e-3)) as u64).min(50).max(first);
    Ok(steps as f64 / run(steps)?.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A quarter of a second each: eight fit.
    #[test]
    fn as_many_steps_as_fit_and_no_fewer_than_first() {
        let asked = RefCell::new(Vec::new());
        let run = |steps: u64| {
            asked.borrow_mut().push(steps);
            Ok(steps as f64 / 4.0)
        };
        assert_eq!(steps_per_second(1, run).expect("it runs"), 4.0);
        assert_eq!(steps_per_second(20, run).expect("it runs"), 4.0);
        assert_eq!(asked.into_inner(), [1, 8, 20, 20]);
    }
}
