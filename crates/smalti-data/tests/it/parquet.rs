//! Hugging Face Parquet in every form of column that people have.

use crate::util::{open, png, read, refused, rows, with_threads};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, DictionaryArray, Int8Array, Int32Array, Int64Array,
    LargeBinaryArray, RecordBatch, StringArray, StructArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use smalti_data::scan::scan;
use smalti_data::tables::Split;
use smalti_data::{Source, SourceOptions};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Writes columns with `group` rows in a row group; `features` is the JSON under `huggingface`.
fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, features: Option<&str>, group: usize) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let metadata = features.map(|json| HashMap::from([("huggingface".to_owned(), json.to_owned())]));
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata.unwrap_or_default()));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|c| c.1).collect()).expect("fits");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = std::fs::File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

fn pngs(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(png).collect()
}

fn binary(count: u32) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(pngs(count)))
}

fn structs(parts: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields =
        parts.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect::<Vec<_>>();
    Arc::new(StructArray::new(fields.into(), parts.into_iter().map(|p| p.1).collect(), None))
}

fn labels(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

const ANIMALS: &str = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}"#;

#[test]
fn every_form_of_image_column_reads() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a.png"), None, Some("")]));
    let forms: Vec<(&str, ArrayRef)> = vec![
        ("image", structs(vec![("bytes", binary(3)), ("path", names.clone())])),
        ("img", structs(vec![("bytes", binary(3))])),
        ("image", binary(3)),
        ("picture", Arc::new(LargeBinaryArray::from_iter_values(pngs(3)))),
        ("picture", Arc::new(BinaryViewArray::from_iter_values(pngs(3)))),
    ];
    for (at, (name, column)) in forms.into_iter().enumerate() {
        write(&path, vec![(name, column), ("label", labels(&[1, 0, 1]))], Some(ANIMALS), 2);
        let source = open(&path);
        assert_eq!((source.classes(), source.kind()), (["zebra", "ant"].map(String::from).as_slice(), "parquet"));
        let expected = if at == 0 { "a.png" } else { "x.parquet#0" };
        let table = rows(&source);
        assert_eq!(table[0], (expected.to_owned(), 1, Split::Train));
        assert_eq!(table[2], ("x.parquet#2".to_owned(), 1, Split::Train));
        assert_eq!(
            read(&source, &[0, 1, 2]).into_values().collect::<Vec<_>>(),
            pngs(3).into_iter().map(Ok).collect::<Vec<_>>()
        );
    }
}

#[test]
fn rows_without_bytes_are_bad_rows_not_errors() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a.png", "b.png"]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"no image")]));
    write(
        &path,
        vec![("image", structs(vec![("bytes", bytes), ("path", names.clone())])), ("label", labels(&[0, 0]))],
        None,
        10,
    );
    let samples = scan(&open(&path), &|_| ()).expect("scanned");
    let paths: Vec<_> = samples.bad().map(|(sample, _)| samples.path(sample.sample)).collect();
    let bad: Vec<(&str, &str)> = paths.iter().zip(samples.bad()).map(|(path, (_, cause))| (&**path, cause)).collect();
    assert!(bad[0] == ("a.png", "the row holds no image bytes") && bad[1].0 == "b.png", "{bad:?}");

    write(&path, vec![("image", structs(vec![("path", names)])), ("label", labels(&[0, 0]))], None, 10);
    assert_eq!(scan(&open(&path), &|_| ()).expect("scanned").bad().count(), 2);
}

#[test]
fn only_the_wanted_rows_are_handed_over_from_any_number_of_groups_and_threads() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let wanted: Vec<u32> = (0..50).filter(|row| row % 7 < 2 && *row != 21).collect();
    for group in [1, 4, 50] {
        write(&path, vec![("image", binary(50)), ("label", labels(&[0; 50]))], None, group);
        let source = open(&path);
        for threads in [1, 3] {
            let found = with_threads(threads, || read(&source, &wanted));
            assert_eq!(found.keys().copied().collect::<Vec<_>>(), wanted);
            assert!(found.iter().all(|(row, bytes)| *bytes == Ok(png(*row))), "{group} rows in a group");
        }
    }
}

#[test]
fn every_form_of_label_reads() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let classes = |column: &str, array: ArrayRef| {
        write(&path, vec![("image", binary(3)), (column, array)], None, 10);
        let source = open(&path);
        (source.classes().to_vec(), rows(&source).into_iter().map(|row| row.1).collect::<Vec<_>>())
    };
    let padded = |last: u32| (0..=last).map(|class| format!("{class:02}")).collect::<Vec<_>>();
    assert_eq!(classes("fine_label", Arc::new(Int32Array::from(vec![3, 11, 0]))), (padded(11), vec![3, 11, 0]));
    assert_eq!(classes("class_id", Arc::new(Int8Array::from(vec![0, 1, 0]))).0, ["0", "1"]);
    assert_eq!(classes("labels", Arc::new(UInt64Array::from(vec![0, 1, 0]))).0, ["0", "1"]);
    let names = (vec!["ant".to_owned(), "zebra".to_owned()], vec![1, 0, 1]);
    assert_eq!(classes("label", Arc::new(StringArray::from(vec!["zebra", "ant", "zebra"]))), names);
    let dictionary: DictionaryArray<Int32Type> = ["zebra", "ant", "zebra"].into_iter().collect();
    assert_eq!(classes("label", Arc::new(dictionary)), names);
}

#[test]
fn class_names_come_from_every_form_of_metadata() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    for features in [
        ANIMALS,
        r#"{"info": {"features": {"label": {"class_label": {"names": {"0": "zebra", "1": "ant"}}}}}}"#,
        r#"{"features": {"label": {"names": {"1": "ant", "0": "zebra"}}}}"#,
        r#"{"info": {"features": [{"name": "label", "dtype": {"class_label": {"names": ["zebra", "ant"]}}}]}}"#,
    ] {
        write(&path, vec![("image", binary(2)), ("label", labels(&[0, 1]))], Some(features), 10);
        assert_eq!(open(&path).classes(), ["zebra", "ant"], "{features}");
    }
    write(&path, vec![("image", binary(2)), ("label", labels(&[0, 1]))], Some("{"), 10);
    assert!(refused(&path).0.contains("not JSON"));
}

#[test]
fn labels_that_are_no_class_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let message = |label: ArrayRef, features: Option<&str>| {
        write(&path, vec![("image", binary(3)), ("label", label)], features, 2);
        refused(&path).0
    };
    let text = message(labels(&[0, 1, 2]), Some(ANIMALS));
    assert!(
        text.contains("row 2 of") && text.contains("x.parquet` has the label 2, but there are 2 classes"),
        "{text}"
    );
    assert!(message(labels(&[0, -1, 1]), Some(ANIMALS)).contains("row 1 of"));
    assert!(message(labels(&[0, -1, 1]), None).contains("the label -1"));
    assert!(message(labels(&[0, 4_000_000_000, 1]), None).contains("the label 4000000000"));
    assert!(message(Arc::new(UInt64Array::from(vec![0, 1, u64::MAX])), None).contains("row 2 of"));
    assert!(message(Arc::new(Int64Array::from(vec![Some(0), Some(1), None])), None).contains("row 2 of"));
    let text = message(Arc::new(arrow::array::Float64Array::from(vec![0.0, 1.0, 1.5])), None);
    assert!(text.contains("holds Float64 and no labels"), "{text}");
}

#[test]
fn columns_that_are_missing_or_wrong_are_named_with_those_there() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    write(&path, vec![("scan", binary(2)), ("kind", labels(&[0, 1]))], None, 10);
    let (message, hint) = refused(&path);
    assert!(message.contains("no label column") && hint.contains("`scan`, `kind`"), "{message} {hint}");
    let named = |image: &str, label: &str| SourceOptions {
        image_column: Some(image.into()),
        label_column: Some(label.into()),
        ..SourceOptions::default()
    };
    assert_eq!(Source::open(&path, &named("scan", "kind")).expect("opens").len(), 2);
    for (image, label, word) in
        [("photo", "kind", "no column `photo`"), ("scan", "class", "no column `class`"), ("kind", "kind", "no images")]
    {
        let message = Source::open(&path, &named(image, label)).expect_err("refused").to_string();
        assert!(message.contains(word), "{message}");
    }
    let paths: ArrayRef = Arc::new(StringArray::from(vec!["a.png", "b.png"]));
    write(&path, vec![("image", paths), ("label", labels(&[0, 1]))], None, 10);
    assert!(refused(&path).0.contains("holds Utf8 and no images"));
    write(&path, vec![("a", binary(2)), ("b", binary(2)), ("label", labels(&[0, 1]))], None, 10);
    assert!(refused(&path).0.contains("no image column"));
    std::fs::write(&path, b"PAR1 but not really").expect("written");
    assert!(refused(&path).0.contains("cannot read the table"));
}

#[test]
fn several_files_are_one_source_with_splits_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let part = |name: &str, features: &str, classes: &[i64]| {
        write(
            &dir.path().join(name),
            vec![("image", binary(classes.len() as u32)), ("label", labels(classes))],
            Some(features),
            10,
        );
    };
    part("data/train-00001-of-00002.parquet", ANIMALS, &[1]);
    part("data/train-00000-of-00002.parquet", ANIMALS, &[0, 1]);
    part("data/validation-00000-of-00001.parquet", ANIMALS, &[1]);
    let source = open(dir.path());
    let expected = [
        ("train-00000-of-00002.parquet#0", 0, Split::Train),
        ("train-00000-of-00002.parquet#1", 1, Split::Train),
        ("train-00001-of-00002.parquet#0", 1, Split::Train),
        ("validation-00000-of-00001.parquet#0", 1, Split::Test),
    ];
    assert_eq!(rows(&source), expected.map(|(path, class, split)| (path.to_owned(), class, split)));
    assert_eq!(read(&source, &[1, 2, 3]).into_values().collect::<Vec<_>>(), [Ok(png(1)), Ok(png(0)), Ok(png(0))]);
    let alone = open(&dir.path().join("data/validation-00000-of-00001.parquet"));
    assert_eq!(alone.split(0), Split::Test);

    part("data/contest.parquet", ANIMALS, &[0]);
    assert!(refused(dir.path()).0.contains("names its split, but"), "`contest` is not `test`");
    std::fs::remove_file(dir.path().join("data/contest.parquet")).expect("removed");
    part("data/test.parquet", r#"{"info": {"features": {"label": {"names": ["ant", "zebra"]}}}}"#, &[0]);
    assert!(refused(dir.path()).0.contains("name different classes"));
}

#[test]
fn numbers_and_text_do_not_mix() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    write(&dir.path().join("1.parquet"), vec![("image", binary(2)), ("label", labels(&[7, 0]))], None, 10);
    write(&dir.path().join("2.parquet"), vec![("image", binary(2)), ("label", text)], None, 10);
    let (message, _) = refused(dir.path());
    assert!(message.contains("2.parquet` are text from row 0"), "{message}");
}

#[test]
fn damage_anywhere_in_a_file_is_an_error_never_a_panic() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.parquet");
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a.png", "b.png", "c.png"]));
    let small: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"abc", b"", b"defgh"]));
    let image = structs(vec![("bytes", small), ("path", names)]);
    write(&path, vec![("image", image), ("label", labels(&[1, 0, 1]))], Some(ANIMALS), 2);
    let whole = std::fs::read(&path).expect("reads");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= [0x01, 0x55, 0xFF][at % 3];
        std::fs::write(&path, damaged).expect("written");
        if let Ok(source) = Source::open(&path, &SourceOptions::default()) {
            let rows: Vec<u32> = (0..source.len() as u32).collect();
            let _ = source.for_each(&rows, &|_, _| ());
        }
    }
}

#[test]
fn the_shared_sets_open_and_scan() {
    for (name, images, classes) in [
        ("imagenette-128/val.parquet", 3925, "n01440764"),
        ("cifar10/test.parquet", 10_000, "airplane"),
        ("fashion-mnist-test.parquet", 10_000, ""),
    ] {
        let Some(path) = crate::util::shared(name) else { continue };
        let source = open(&path);
        assert_eq!((source.len(), source.classes().len()), (images, 10));
        assert!(source.classes()[0].starts_with(classes) && source.split(0) == Split::Test, "{:?}", source.classes());
        let some: Vec<u32> = (0..source.len() as u32).step_by(97).collect();
        for (row, bytes) in read(&source, &some) {
            smalti_data::decode::decode(&bytes.expect("there")).unwrap_or_else(|e| panic!("row {row} of {name}: {e}"));
        }
    }
}
