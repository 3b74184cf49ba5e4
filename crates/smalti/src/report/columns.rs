//! The settings of a row, one list for every form of the table: a setting that all rows share is said once, above the table, and
//! only what differs takes a column.

use super::data::TableRow;
use super::words;

/// A setting of a row.
pub struct Setting {
    /// Head of its column.
    pub name: &'static str,
    /// Whether its cells are numbers.
    pub kind: Kind,
    /// Its value in a row, as text.
    pub value: fn(&TableRow) -> String,
    /// How to say it in a sentence about all rows.
    pub phrase: fn(&str) -> String,
}

/// How a cell is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the left.
    Text,
    /// To the right.
    Number,
}

/// All settings, in the order of columns.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "IPC",
        kind: Kind::Number,
        value: |row| if row.ipc == 0 { "all".to_owned() } else { words::thousands(row.ipc.into()) },
        phrase: |value| format!("{value} stored image{} per class", if value == "1" { "" } else { "s" }),
    },
    Setting {
        name: "student",
        kind: Kind::Text,
        value: |row| row.student.clone(),
        phrase: |value| format!("student {value}"),
    },
    Setting {
        name: "protocol",
        kind: Kind::Text,
        value: |row| row.protocol.clone(),
        phrase: |value| format!("protocol {value}"),
    },
    Setting {
        name: "augment",
        kind: Kind::Text,
        value: |row| row.augment.clone(),
        phrase: |value| format!("{value} augmentation"),
    },
    Setting { name: "crop", kind: Kind::Text, value: |row| row.crop.clone(), phrase: |value| format!("crop {value}") },
    Setting {
        name: "images seen",
        kind: Kind::Number,
        value: |row| words::thousands(row.images_seen),
        phrase: |value| format!("{value} images seen"),
    },
    Setting {
        name: "n",
        kind: Kind::Number,
        value: |row| row.n.to_string(),
        phrase: |value| format!("{value} seed{}", if value == "1" { "" } else { "s" }),
    },
];

impl Setting {
    /// Whether rows differ in this setting.
    pub fn varies(&self, rows: &[TableRow]) -> bool {
        rows.windows(2).any(|pair| (self.value)(&pair[0]) != (self.value)(&pair[1]))
    }
}

/// What all rows share, as phrases; settings without a value are left out.
pub fn shared(rows: &[TableRow]) -> Vec<String> {
    let Some(first) = rows.first() else { return Vec::new() };
    let said = SETTINGS.iter().filter(|setting| !setting.varies(rows));
    said.map(|setting| (setting, (setting.value)(first)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(setting, value)| (setting.phrase)(&value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn what_rows_share_is_said_once() {
        let mut rows = example::page().table;
        for phrase in ["10 stored images per class", "30,000 images seen"] {
            assert!(shared(&rows).contains(&phrase.to_owned()), "{phrase}");
        }
        assert!(
            SETTINGS
                .iter()
                .filter(|setting| setting.varies(&rows))
                .all(|setting| setting.name == "augment" || setting.name == "crop")
        );
        (rows[0].ipc, rows[0].images_seen) = (50, 100_000);
        assert!(!shared(&rows).iter().any(|phrase| phrase.contains("per class") || phrase.contains("seen")));
        assert!(shared(&[]).is_empty());
    }
}
