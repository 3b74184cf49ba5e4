//! A bench with several protocols, a teacher, all images as a row and a set made elsewhere; and what happens when a row fails.

mod common;

use common::{arg, images, run, smalti, tree};
use std::path::{Path, PathBuf};

const RECIPE: &str = r#"
name = "grid"
source = "images"
size = 24
ipc = [1, 2]
seeds = 2
holdout = 0.25
protocols = ["small", "small-soft"]
[training]
student = "convnet-1/4"
images-seen = 100
batch = 20
crop-min = 0.3
[teacher]
train = { student = "convnet-2/8", protocol = "small", images-seen = 60, batch = 20 }
[[row]]
preset = "random"
[[row]]
preset = "full"
seeds = 1
images-seen = 200
[[row]]
name = "elsewhere"
set = "sets/mosaic-{ipc}"
"#;

fn prepare(dir: &Path) -> PathBuf {
    let source = images(dir, 16);
    for ipc in ["1", "2"] {
        let out = dir.join(format!("sets/mosaic-{ipc}"));
        run(
            [
                "compress",
                arg(&source),
                "--preset",
                "random-mosaic",
                "--ipc",
                ipc,
                "--size",
                "24",
                "--out",
                arg(&out),
                "-q",
            ],
            0,
        );
    }
    let recipe = dir.join("grid.toml");
    std::fs::write(&recipe, RECIPE).expect("written");
    recipe
}

fn cells(out: &Path) -> Vec<serde_json::Value> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(out.join("cells")).expect("cells").map(|e| e.expect("an entry").path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    names.sort();
    names.iter().map(|path| serde_json::from_slice(&std::fs::read(path).expect("there")).expect("a cell")).collect()
}

#[test]
fn protocols_budgets_all_images_and_foreign_sets_stand_in_one_table() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (prepare(dir.path()), dir.path().join("out"));
    let (stdout, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let cells = cells(&out);
    // Two rows x two budgets x two protocols x two seeds, and all images once under each protocol.
    assert_eq!(cells.len(), 18);
    for cell in &cells {
        let soft = cell["protocol"] == "small-soft";
        assert_eq!(cell["teacher"].is_string(), soft);
        let seen = if cell["method"] == "full" { 200 } else { 100 };
        assert_eq!(cell["history"]["images_seen"].as_u64(), Some(seen));
        let images = cell["train_images"].as_u64().expect("a number");
        let labels = if soft { seen * 2 * 3 } else { images * 8 };
        assert_eq!(cell["label_bytes"].as_u64(), Some(labels), "{}", cell["method"]);
        assert_eq!(cell["right"].as_str().map(str::len), Some(3), "twelve test images");
        let (ipc, seed) = (&cell["ipc"], &cell["seed"]);
        let folder = match cell["method"].as_str() {
            Some("random") => out.join(format!("work/sets/random-ipc{ipc}-seed{seed}/train")),
            Some("elsewhere") => dir.path().join(format!("sets/mosaic-{ipc}/train")),
            _ => continue,
        };
        let bytes: u64 = tree(&folder).values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!(cell["image_bytes"].as_u64(), Some(bytes), "{}", folder.display());
    }
    let full = cells.iter().find(|cell| cell["method"] == "full").expect("a row of all images");
    assert_eq!((full["ipc"].as_u64(), full["train_images"].as_u64() > Some(30)), (Some(0), true));
    for word in ["| full", "| elsewhere", "small-soft", "LRS", "over images too", "all |"] {
        assert!(stdout.contains(word), "`{word}` is missing from:\n{stdout}");
    }
    for name in ["teacher.json", "results.json", "table.tex", "report.html"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("written");
    assert!(page.contains("KL divergence from the teacher at T = 20"), "both protocols are printed");
    let before = std::fs::metadata(out.join("work/teacher.safetensors")).and_then(|m| m.modified()).expect("there");
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let after = std::fs::metadata(out.join("work/teacher.safetensors")).and_then(|m| m.modified()).expect("there");
    assert_eq!(before, after, "nothing is trained again");

    // The gain of one row over another is minus that of the other over the first.
    let gains = |over: &str| -> Vec<serde_json::Value> {
        let (stdout, _) = run(["report", arg(&out), "--over", over, "--json"], 0);
        serde_json::from_str(&stdout).expect("JSON")
    };
    let of = |rows: &[serde_json::Value], method: &str| {
        let row = rows.iter().find(|row| row["method"] == method).expect("a row");
        row["gain"]["mean"].as_f64()
    };
    let (over_random, over_elsewhere) = (gains("random"), gains("elsewhere"));
    assert_eq!(of(&over_random, "elsewhere").map(|gain| -gain), of(&over_elsewhere, "random"));
    assert_eq!((of(&over_random, "random"), of(&over_elsewhere, "elsewhere")), (None, None));
    let (stdout, _) = run(["report", arg(&out), "--over", "elsewhere"], 0);
    assert!(stdout.contains(" over elsewhere |"), "{stdout}");
    let (_, stderr) = run(["report", arg(&out), "--over", "elsewere"], 2);
    assert!(stderr.contains("there is no row `elsewere`") && stderr.contains("`elsewhere`"), "{stderr}");

    let board = dir.path().join("board");
    run(["report", arg(&out), "--tensorboard", arg(&board), "--quiet"], 0);
    let files = std::fs::read_dir(&board).expect("a folder").map(|entry| entry.expect("an entry").path());
    let sizes = files.map(|folder| std::fs::read(folder.join("events.out.tfevents.smalti")).expect("a file").len());
    assert_eq!(sizes.filter(|&size| size > 100).count(), 18);
}

/// Distilled rows come from the bench's own teacher under hard labels too; seeds share as many sets as the row says, and each cell says what its set
/// cost.
#[test]
fn distilled_sets_are_rows_beside_the_others() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let (head, _) = RECIPE.split_once("[[row]]\nname = \"elsewhere\"").expect("the last row");
    let text = head.replace(", \"small-soft\"]", "]").replace("[1, 2]", "[1]")
        + "[[row]]\ndistill = \"lpld\"\niterations = 3\nsets = 1\n[[row]]\ndistill = \"rded\"\ngrid = 2\n"
        + "[[row]]\ndistill = \"gvbsm\"\niterations = 3\nsets = 1\n"
        + "[[backbone]]\ntrain = { student = \"convnet-1/8\", protocol = \"small\", images-seen = 60, batch = 20 }\n";
    let (recipe, out) = (dir.path().join("grid.toml"), dir.path().join("out"));
    std::fs::write(&recipe, text).expect("written");
    let (forecast, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--dry-run", "--quiet"], 0);
    // Three classes, one image of each, three steps.
    for words in [
        "and the teacher convnet-2/8",
        "and the backbone-1 convnet-1/8",
        "1 set by lpld: 9 images",
        "1 set by gvbsm: 9 images",
    ] {
        assert!(forecast.contains(words), "{words}: {forecast}");
    }
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let (forecast, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--dry-run", "--quiet"], 0);
    assert!(!forecast.contains("set by") && !forecast.contains("and the"), "all is there: {forecast}");
    std::fs::rename(out.join("work"), dir.path().join("work")).expect("renamed");
    let (forecast, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--dry-run", "--quiet"], 0);
    assert!(!forecast.contains("set by") && !forecast.contains("and the"), "finished cells need no work/: {forecast}");
    std::fs::rename(dir.path().join("work"), out.join("work")).expect("renamed");
    let cells = cells(&out);
    let of = |method: &str| cells.iter().filter(|cell| cell["method"] == method).collect::<Vec<_>>();
    assert_eq!((of("lpld").len(), of("rded").len(), of("gvbsm").len(), cells.len()), (2, 2, 2, 9));
    let seconds = |cell: &serde_json::Value| cell["seconds"]["compress"].as_f64().expect("a number");
    assert!(seconds(of("lpld")[0]) > 0.0 && seconds(of("lpld")[0]) == seconds(of("lpld")[1]), "one set");
    let page = std::fs::read_to_string(out.join("report.html")).expect("written");
    assert!(
        page.contains("1 synthetic image each") && page.contains("4 crops each") && page.contains("1 whole image each")
    );
    let by = |method: &str| of(method)[0]["distilled_by"].as_str().unwrap_or_default().to_owned();
    assert!(by("lpld").starts_with("convnet-2/8-bn ") && by("gvbsm").contains(" + convnet-1/8-bn "), "{}", by("gvbsm"));
    // Nobody is asked again for a set that is there.
    let (teacher, cell) = (out.join("work/teacher.safetensors"), "cells/lpld-ipc1-convnet-1_4-bn-small-seed1.json");
    std::fs::remove_file(&teacher).expect("removed");
    std::fs::remove_file(out.join(cell)).expect("removed");
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let again: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join(cell)).expect("trained again")).expect("JSON");
    assert!(!teacher.exists() && again["distilled_by"] == by("lpld").as_str());
    let sets = |name: &str| out.join("work/sets").join(name).exists();
    assert!(sets("lpld-ipc1-seed0") && !sets("lpld-ipc1-seed1") && sets("rded-ipc1-seed1"));
    let inputs = std::fs::read_to_string(out.join("inputs.json")).expect("written");
    assert!(
        inputs.contains("\"teacher\": \"convnet-2/8-bn "),
        "the teacher is pinned, though all labels are hard: {inputs}"
    );
    assert!(inputs.contains("\"backbone-1\": \"convnet-1/8-bn "), "{inputs}");
    assert!(out.join("backbone-1.json").exists(), "what it is worth is on record");

    let text = std::fs::read_to_string(&recipe).expect("written");
    std::fs::write(&recipe, text.replace("convnet-1/8", "convnet-1/16")).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("a recipe with other settings"), "other networks have looked: {stderr}");
    let again = text.clone()
        + text.split_once("[[backbone]]").map(|(_, own)| "[[backbone]]".to_owned() + own).expect("one").as_str();
    std::fs::write(&recipe, again).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 2);
    assert!(stderr.contains("`[[backbone]]` 2 is the same network as one before it"), "{stderr}");

    std::fs::write(&recipe, &text).expect("written");
    let file = out.join("cells/random-ipc1-convnet-1_4-bn-small-seed0.json");
    let cell = std::fs::read_to_string(&file).expect("a cell");
    std::fs::write(&file, cell.replace("convnet-1/4-bn", "convnet-1")).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("is a cell of convnet-1 under small, not of convnet-1/4-bn under small"), "{stderr}");
}

/// A network whose statistics cannot be matched is named before any other is trained, and before a proxy.
#[test]
fn a_backbone_without_batch_norms_is_refused_before_any_work() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let (head, _) = RECIPE.split_once("[[row]]\nname = \"elsewhere\"").expect("the last row");
    let text = head.to_owned()
        + "[[row]]\ndistill = \"gvbsm\"\niterations = 3\n"
        + "[[backbone]]\ntrain = { student = \"convnet-1/8-in\", protocol = \"small\", images-seen = 60, batch = 20 }\n";
    let (recipe, out) = (dir.path().join("grid.toml"), dir.path().join("out"));
    std::fs::write(&recipe, text).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("gvbsm: convnet-1/8-in has no batch norm") && stderr.contains("resnet18"), "{stderr}");
    assert!(
        !out.join("cells").exists() && !out.join("work/teacher.safetensors").exists() && !out.join("scores").exists()
    );
}

/// A teacher that cannot see the first of its growing views is named before a proxy is trained or a set is made.
#[test]
fn a_teacher_of_one_size_is_refused_growing_views_before_any_work() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (prepare(dir.path()), dir.path().join("out"));
    let grows = "protocol = \"squeeze-small-growing\", epochs = 1 }";
    let text = RECIPE.replace("protocol = \"small\", images-seen = 60, batch = 20 }", grows);
    assert_ne!(text, RECIPE);
    std::fs::write(&recipe, text).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("convnet-2/8-bn was built for 24 px and cannot see views of 16 px"), "{stderr}");
    assert!(!out.join("cells").exists() && !out.join("work/sets").exists());
}

/// Tiles and contents of a set made elsewhere are its own: RDED's crops follow its grid, test images in it are pointed out, and it cannot be
/// exchanged under cells that were made with it.
#[test]
fn a_foreign_set_brings_its_grid_and_stays_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (prepare(dir.path()), dir.path().join("out"));
    let own = RECIPE
        .replace("ipc = [1, 2]\nseeds = 2", "ipc = [2]\nseeds = 1")
        .replace("protocols = [\"small\", \"small-soft\"]", "protocols = [\"rded\"]")
        .replace("batch = 20\ncrop-min = 0.3\n", "")
        + "[[row]]\nname = \"leaky\"\nset = \"images/test\"\n";
    std::fs::write(&recipe, own).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 0);
    assert!(stderr.contains("`leaky` shows 12 test images"), "{stderr}");
    let crops: Vec<_> = cells(&out)
        .iter()
        .map(|cell| (cell["method"].as_str().unwrap_or_default().to_owned(), cell["crop_min"].as_f64()))
        .collect();
    let of = |name: &str| crops.iter().find(|(method, _)| method == name).and_then(|(_, crop)| *crop);
    assert_eq!((of("random"), of("elsewhere")), (Some(1.0), Some(0.5)));

    let set = dir.path().join("sets/mosaic-2");
    let (source, seed) = (dir.path().join("images"), "7");
    run(
        [
            "compress",
            arg(&source),
            "--preset",
            "random-mosaic",
            "--ipc",
            "2",
            "--size",
            "24",
            "--seed",
            seed,
            "--force",
            "--out",
            arg(&set),
            "-q",
        ],
        0,
    );
    let cell = out.join("cells/elsewhere-ipc2-convnet-1_4-bn-rded-seed0.json");
    std::fs::remove_file(&cell).expect("removed");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("set of elsewhere ipc 2") && stderr.contains("were made with"), "{stderr}");
    assert!(!cell.exists());
}

#[test]
fn a_row_that_fails_is_named_and_the_others_are_finished() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (prepare(dir.path()), dir.path().join("out"));
    let ring = dir.path().join("sets/mosaic-2/train/ring");
    let broken = dir.path().join("sets/mosaic-2/train/torus");
    std::fs::rename(&ring, &broken).expect("renamed");
    std::fs::remove_file(dir.path().join("sets/mosaic-2/manifest.json")).expect("removed");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("4 cells failed, 14 finished") && stderr.contains("has 1 more: `torus`"), "{stderr}");
    let note = out.join("cells/elsewhere-ipc2-convnet-1_4-bn-small-seed0.failed.txt");
    let text = std::fs::read_to_string(&note).expect("written");
    assert!(text.contains("lacks `ring` and has 1 more: `torus`") && text.contains("class-map"), "{text}");
    assert!(out.join("table.md").exists(), "what is finished is on the page");
    std::fs::rename(&broken, &ring).expect("renamed");
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    assert!(!note.exists() && cells(&out).len() == 18);
}

#[test]
fn two_processes_finish_one_folder_together() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (prepare(dir.path()), dir.path().join("out"));
    let start =
        || smalti(["bench", arg(&recipe), "--out", arg(&out), "--quiet", "--threads", "1"]).spawn().expect("it starts");
    let (mut first, mut second) = (start(), start());
    assert!(first.wait().expect("it ends").success() && second.wait().expect("it ends").success());
    assert_eq!(cells(&out).len(), 18);
}

#[test]
fn a_soft_protocol_without_a_teacher_and_a_row_without_an_origin_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let recipe = prepare(dir.path());
    let refuse = |from: &str, to: &str, word: &str| {
        std::fs::write(&recipe, RECIPE.replacen(from, to, 1)).expect("written");
        let out = dir.path().join("out");
        let output = smalti(["bench", arg(&recipe), "--out", arg(&out)]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)) && stderr.contains(word), "{stderr}");
        assert!(!out.exists());
    };
    let teacher = RECIPE
        .split("[[row]]")
        .next()
        .and_then(|head| head.find("[teacher]").map(|at| &head[at..]))
        .expect("a teacher");
    refuse(teacher, "", "`small-soft` needs a teacher");
    refuse("preset = \"random\"", "preset = \"random\"\nset = \"images\"", "one of `preset`, `set` and `distill`");
    refuse("protocol = \"small\", images", "protocol = \"small-soft\", images", "the teacher itself needs a teacher");
    refuse("protocols = [\"small\",", "protocols = [\"smal\",", "small");
}

/// A second process takes its part of the cells, and the table is that of one.
#[test]
fn jobs_share_the_cells_and_give_the_table_of_one() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let (head, _) = RECIPE.split_once("[[row]]\nname = \"elsewhere\"").expect("the last row");
    let recipe = dir.path().join("grid.toml");
    std::fs::write(&recipe, head.replace(", \"small-soft\"]", "]")).expect("written");
    let table = |out: &str, more: &[&str]| {
        let out = dir.path().join(out);
        run(["bench", arg(&recipe), "--out", arg(&out), "-q"].into_iter().chain(more.iter().copied()), 0);
        let csv = std::fs::read_to_string(out.join("results.csv")).expect("written");
        // Seconds differ.
        csv.lines().map(|line| line.split(',').take(8).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    let alone = table("one", &["--threads", "1"]);
    assert_eq!(alone, table("two", &["--threads", "2", "--jobs", "2"]));
    assert_eq!(alone.len(), 6, "{alone:?}");
    for (jobs, said) in [("0", "no process"), ("9", "more than the 2 threads")] {
        let (_, stderr) = run(["bench", arg(&recipe), "--threads", "2", "--jobs", jobs], 2);
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_name_that_was_left_out_for_a_while_still_means_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let (recipe, out) = (dir.path().join("rows.toml"), dir.path().join("out"));
    let (head, _) = RECIPE.split_once("protocols").expect("it has protocols");
    let bench = |rows: &str, status: i32| {
        let training = "[training]\nstudent = \"convnet-1/4\"\nimages-seen = 60\nbatch = 20\ncrop-min = 0.3\n";
        let proxy = "[proxy]\nnetwork = \"convnet-1/4\"\nsize = 16\nepochs = 1\nseeds = 1\n";
        let text = format!("{head}{training}{proxy}[[row]]\npreset = \"random\"\nseeds = 1\n{rows}");
        std::fs::write(&recipe, text.replace("ipc = [1, 2]", "ipc = [1]")).expect("written");
        run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], status).1
    };
    let row = |name: &str, rule: &str, metric: &str| {
        format!(
            "[[row]]\nname = \"{name}\"\npreset = \"el2n-easy\"\nrule = \"{rule}\"\nmetric = \"{metric}\"\nhard-end = \"high\"\nseeds = 1\n"
        )
    };
    bench(&row("x", "easy-first", "mine=avg(loss)"), 0);
    bench("", 0);
    let stderr = bench(&row("x", "hard-first", "mine=avg(loss)"), 1);
    assert!(stderr.contains("cells of a row `x` with other settings"), "{stderr}");
    let stderr = bench(&row("y", "easy-first", "mine@eval=avg(loss)"), 1);
    assert!(stderr.contains("do not go with") && stderr.contains("metric `mine`"), "{stderr}");
    bench(&row("x", "easy-first", "mine=avg(loss)"), 0);
    assert_eq!(cells(&out).len(), 2);
}
