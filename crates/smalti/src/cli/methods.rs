//! `smalti methods`.

use super::{Done, Form, args, print, print_json};
use crate::methods;
use anyhow::Result;

pub(super) const EXAMPLE: &str = "\
Example:
  smalti methods
  smalti methods --json";

pub(super) fn run(_args: &args::Methods, form: Form) -> Result<Done> {
    match form {
        Form::Json => print_json(&methods::families())?,
        Form::Text => print(&methods::markdown())?,
    }
    Ok(Done::All)
}
