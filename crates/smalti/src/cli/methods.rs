//! `smalti methods`.

use super::{Done, Form, args, print, print_json};
use crate::methods;
use anyhow::Result;

pub(super) const EXAMPLE: &str = "\
Example:
  smalti methods
  smalti methods --protocols
  smalti methods --json";

pub(super) fn run(args: &args::Methods, form: Form) -> Result<Done> {
    let mut families = methods::families();
    if args.protocols {
        families.retain(|family| family.flag == "--protocol");
    }
    match form {
        Form::Json => print_json(&families)?,
        Form::Text => print(&methods::markdown(&families))?,
    }
    Ok(Done::All)
}
