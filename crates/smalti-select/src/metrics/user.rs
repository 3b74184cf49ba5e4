//! A metric by its name, or a user's own as `NAME=SQL`.

use super::{Basis, HardEnd, METRICS, Metric};
use crate::error::{Error, Result};
use crate::names;
use smalti_data::tables::Pass;
use std::borrow::Cow;

/// The metric that `spec` means: a name of [`METRICS`], or `NAME=SQL` with one aggregate expression over the trace's columns, such as
/// `early=avg(loss) filter (where epoch < 5)`. It reads the train rows, which every epoch has; `NAME@eval=SQL` reads the eval rows.
///
/// `hard` says which end of a user's metric is hard; a metric of the list brings its own. [`crate::check_metric`] looks at the expression.
///
/// # Errors
/// [`Error::Input`] for an unknown name (the hint offers the near one and lists all), for a user's metric with a name of the list, without
/// `hard`, or with an unknown pass, and for a `hard` that contradicts the list.
pub fn metric(spec: &str, hard: Option<HardEnd>) -> Result<Metric> {
    let Some((head, sql)) = spec.split_once('=') else {
        let found = METRICS.iter().find(|m| m.name == spec).cloned();
        let found = found.ok_or_else(|| names::unknown("metric", spec, METRICS.iter().map(|m| &*m.name)))?;
        if hard.is_some_and(|hard| hard != found.hard) {
            let other = if found.hard == HardEnd::High { "high" } else { "low" };
            let what = format!("the hard end of `{spec}` is the {other} one");
            return Err(Error::input(
                what,
                "leave --hard-end out; --rule hard-first keeps the other end of the images",
            ));
        }
        return Ok(found);
    };
    let (name, pass) = head.split_once('@').unwrap_or((head, "train"));
    let (name, pass, sql) = (name.trim(), pass.trim(), sql.trim());
    let pass = [Pass::Train, Pass::Eval].into_iter().find(|known| known.name() == pass).ok_or_else(|| {
        let what = format!("the metric `{name}` reads `{pass}`, and the trace has the passes `train` and `eval`");
        Error::input(what, format!("write --metric '{name}@eval={sql}', or without the @"))
    })?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || sql.is_empty() || !name.chars().all(plain) || METRICS.iter().any(|m| m.name == name) {
        return Err(Error::input(
            format!("`{spec}` names no metric of its own"),
            "write --metric 'NAME=SQL' with a new name of letters, digits and -_. : 'early=avg(loss) filter (where epoch < 5)'",
        ));
    }
    let hard = hard.ok_or_else(|| {
        let hint = "add --hard-end high or --hard-end low; in a row of a bench, `hard-end = \"high\"`";
        Error::input(format!("which end of `{name}` is hard?"), hint)
    })?;
    Ok(Metric {
        name: Cow::Owned(name.to_owned()),
        basis: Basis::Trace { pass, sql: Cow::Owned(sql.to_owned()) },
        hard,
        about: "a metric of the user",
        formula: "as given",
        paper: "none",
        cost: "as its pass",
        fails: "unknown",
        epochs: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_metric_has_a_name_a_pass_and_an_end() {
        let mine = metric("early = avg(loss) filter (where epoch < 5)", Some(HardEnd::High)).expect("fine");
        let sql = Cow::Borrowed("avg(loss) filter (where epoch < 5)");
        assert_eq!((&*mine.name, mine.basis), ("early", Basis::Trace { pass: Pass::Train, sql }));
        let mine = metric("m@eval=max(p_true)", Some(HardEnd::Low)).expect("fine");
        assert_eq!((&*mine.name, mine.reads(), mine.hard), ("m", "eval", HardEnd::Low));
        for (spec, hard, words) in [
            ("m=avg(loss)", None, "--hard-end"),
            ("el2n=avg(loss)", Some(HardEnd::High), "new name"),
            ("=avg(loss)", Some(HardEnd::High), "new name"),
            ("m=", Some(HardEnd::High), "new name"),
            ("m@test=avg(loss)", Some(HardEnd::High), "@eval"),
            ("el2n", Some(HardEnd::Low), "leave --hard-end out"),
        ] {
            let error = metric(spec, hard).expect_err(spec);
            assert!(error.hint().expect("a hint").contains(words), "{error}");
        }
    }

    #[test]
    fn an_unknown_metric_names_the_near_one() {
        let error = metric("eln2", None).expect_err("not a metric");
        assert!(error.hint().expect("a hint").starts_with("did you mean `el2n`?"), "{error}");
    }
}
