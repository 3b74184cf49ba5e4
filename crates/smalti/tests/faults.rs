//! What breaks around the program: kills, signals, full disks, sources that change, damaged files, two runs at once.

mod common;

use common::{TINY_PROXY, arg, check, images, run, smalti, tree};
use smalti_data::files::RunLock;
use smalti_data::random::{Stage, Stream};
use smalti_data::tables::Samples;
use smalti_data::{Manifest, Source, SourceOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A whole compression with proxies, in every stage.
fn command(source: &Path, out: &Path, format: &str) -> Command {
    let mut args = vec!["compress", arg(source), "--out", arg(out), "--quiet", "--ipc", "18", "--format", format];
    args.extend(TINY_PROXY);
    smalti(args)
}

fn random<'a>(source: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec!["compress", arg(source), "--out", arg(out), "--quiet", "--ipc", "2", "--preset", "random"]
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Kills the program at random moments of a run, twice in a row for every other run, then lets the same command finish: the set must be
/// that of an unbroken run. `make soak` sets SMALTI_KILLS to 100.
#[test]
fn a_killed_run_finishes_with_the_same_bytes() {
    let wanted = number("SMALTI_KILLS", 9);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 80);
    let mut stages = BTreeMap::new();
    let mut killed = 0;
    for (number, format) in (0..).zip(["both", "parquet", "webdataset"]) {
        let whole = dir.path().join(format!("whole-{format}/set"));
        let start = Instant::now();
        check(&command(&source, &whole, format).output().expect("it starts"), 0);
        let mut unbroken = start.elapsed();
        let mut stream = Stream::new(11, Stage::Demo, number, 0);
        let mut run = 0;
        while killed < wanted * (number + 1) / 3 {
            run += 1;
            assert!(run <= 3 * wanted, "runs end before they can be killed");
            let out = dir.path().join(format!("{format}-{run}/set"));
            for again in 0..=run % 2 {
                match kill_after(command(&source, &out, format), unbroken.mul_f64(stream.between(0.1, 1.0))) {
                    // The run that was timed may have shared the machine with other tests; one that goes on is shorter.
                    Some(whole) if again == 0 => unbroken = unbroken.min(whole),
                    Some(_) => {}
                    None => {
                        killed += 1;
                        *stages.entry(reached(&out)).or_insert(0) += 1;
                    }
                }
            }
            if !out.join("manifest.json").exists() {
                check(&command(&source, &out, format).output().expect("it starts"), 0);
            }
            assert_eq!(tree(&out), tree(&whole), "{format}, run {run}");
            std::fs::remove_dir_all(out.parent().expect("a folder")).expect("removed");
        }
    }
    eprintln!("{killed} kills, by what was there: {stages:?}");
}

/// Whatever the last table is that a run has left, the next one makes only what is missing.
#[test]
fn a_run_cut_after_any_stage_makes_only_what_is_missing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 12), dir.path().join("set"));
    let mut args = vec!["compress", arg(&source), "--out", arg(&out), "--quiet", "--ipc", "2", "--preset", "pca"];
    args.extend(TINY_PROXY);
    let go = || run(args.clone(), 0);
    go();
    let (whole, work) = (tree(&out), dir.path().join("set.run"));
    // The last one first.
    let made = ["selection.parquet", "scores.parquet", "trace/seed=1"];
    let time = |name: &str| std::fs::metadata(work.join(name)).and_then(|found| found.modified()).ok();
    for cut in 0..=made.len() {
        std::fs::remove_dir_all(&out).expect("removed");
        for path in made[..cut].iter().map(|name| work.join(name)).filter(|path| path.exists()) {
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
        }
        let kept = ["scores.parquet", "trace/seed=1", "trace/seed=0"];
        let before: Vec<_> = kept.into_iter().filter_map(|name| Some((name, time(name)?))).collect();
        assert_eq!(before.len(), 3 - cut.saturating_sub(1), "cut {cut}");
        go();
        before.iter().for_each(|(name, at)| assert_eq!(time(name), Some(*at), "{name} was made again, cut {cut}"));
        assert_eq!(tree(&out), whole, "cut {cut}");
    }
}

#[test]
fn a_run_that_goes_on_with_another_program_or_machine_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 12), dir.path().join("set"));
    let mut args = vec!["compress", arg(&source), "--out", arg(&out), "--quiet", "--ipc", "2", "--preset", "pca"];
    args.extend(TINY_PROXY);
    let (_, stderr) = run(args.clone(), 0);
    assert!(!stderr.contains("were trained by"), "{stderr}");
    // As a run of another version leaves it that was cut before its second proxy.
    let work = dir.path().join("set.run");
    let reports = std::fs::read_to_string(work.join("proxies.json")).expect("there");
    let by = reports.find("smalti ").expect("it says what trained it");
    std::fs::write(work.join("proxies.json"), format!("{}smalti 0.0.9{}", &reports[..by], &reports[by..]))
        .expect("written");
    std::fs::remove_dir_all(&out).expect("removed");
    for made in ["selection.parquet", "scores.parquet"] {
        std::fs::remove_file(work.join(made)).expect("removed");
    }
    std::fs::remove_dir_all(work.join("trace/seed=1")).expect("removed");
    let (_, stderr) = run(args, 0);
    assert!(stderr.contains("were trained by smalti 0.0.9"), "{stderr}");
}

/// Kills a run after some time; if it ends before, says how long it took.
fn kill_after(mut command: Command, time: Duration) -> Option<Duration> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while start.elapsed() < time {
        if child.try_wait().expect("asked").is_some() {
            return Some(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("killed or ended");
    let status = child.wait().expect("it ends");
    status.code().map(|_| start.elapsed())
}

/// The last thing that a killed run left.
fn reached(out: &Path) -> &'static str {
    let run = out.with_file_name("set.run");
    let there = |name: &str| run.join(name).exists();
    match () {
        () if out.join("manifest.json").exists() => "a finished set",
        () if out.exists() => "images",
        () if there("selection.parquet") => "a selection",
        () if there("scores.parquet") => "scores",
        () if there("trace") => "a trace",
        () if there("samples.parquet") => "samples",
        () => "nothing",
    }
}

#[test]
fn ctrl_c_says_how_to_go_on_and_leaves_nothing_half_visible() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 80), dir.path().join("set"));
    let child =
        command(&source, &out, "both").stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let trace = dir.path().join("set.run/trace");
    let start = Instant::now();
    while !trace.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(asked.success(), "the run ended before it was stopped");
    let output = child.wait_with_output().expect("it ends");
    let (_, stderr) = check(&output, 130);
    assert!(stderr.contains("the same command goes on"), "{stderr}");
    assert!(!out.join("manifest.json").exists());
    check(&command(&source, &out, "both").output().expect("it starts"), 0);
    run(["verify", arg(&out)], 0);
}

/// Whoever stops the first process of `--jobs`, and however, has stopped them all.
#[cfg(target_os = "linux")]
#[test]
fn the_other_processes_of_a_bench_end_with_the_first() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 6);
    let recipe = dir.path().join("endless.toml");
    let text = "name = \"endless\"\nsource = \"images\"\nsize = 16\nipc = [1]\nseeds = 4\nholdout = 0.25\n[training]\nstudent = \"convnet-1/4\"\n\
                images-seen = 1000000000\nbatch = 8\ncrop-min = 0.3\n[[row]]\npreset = \"random\"\n";
    std::fs::write(&recipe, text).expect("written");
    let wait = |what: &str, there: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !there() {
            assert!(start.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for signal in ["-KILL", "-TERM"] {
        let out = dir.path().join(signal);
        let mut first = smalti(["bench", arg(&recipe), "--out", arg(&out), "--quiet", "--threads", "2", "--jobs", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let list = format!("/proc/{0}/task/{0}/children", first.id());
        let others = || std::fs::read_to_string(&list).unwrap_or_default();
        wait("a second process", &|| !others().trim().is_empty());
        let second = Path::new("/proc").join(others().trim()).join("stat");
        // One that has ended may wait there for whoever asks how.
        let works = || std::fs::read_to_string(&second).is_ok_and(|stat| !stat.contains(") Z "));
        // Both sets are made before a student is trained, and a lock is taken for each student.
        let busy = || std::fs::read_dir(out.join("work/locks/cells")).map_or(0, Iterator::count);
        wait("both take a student", &|| busy() > 1);
        assert!(works(), "the second process has ended by itself");
        let asked = Command::new("kill").args([signal, &first.id().to_string()]).status().expect("kill runs");
        assert!(asked.success());
        first.wait().expect("it ends");
        wait("the second process ends", &|| !works());
    }
}

#[test]
fn two_runs_on_one_folder_do_not_meet() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let held = RunLock::take(&dir.path().join("set.run")).expect("free");
    let (_, stderr) = run(random(&source, &out), 1);
    assert!(stderr.contains("another run is working") && stderr.contains("hint:"), "{stderr}");
    assert!(!out.exists());
    drop(held);
    run(random(&source, &out), 0);
}

#[test]
fn a_source_that_changes_under_a_run_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    run(random(&source, &out), 0);
    let manifest = Manifest::read(&out).expect("finished");
    let samples = Samples::read(&dir.path().join("set.run/samples.parquet")).expect("samples");
    let used = samples.path(manifest.images[0].tiles[0].sample);
    let file = source.join(&*used);
    // The set is gone but the scan is still known, as after a kill between scan and write.
    std::fs::remove_dir_all(&out).expect("removed");
    std::fs::write(&file, b"other").expect("written");
    // Every image is looked at again: what cannot be read is named and not used.
    let (_, stderr) = run(random(&source, &out), 3);
    assert!(stderr.contains(&*used), "{stderr}");
    assert_eq!(Manifest::read(&out).expect("finished").skipped.len(), 1);
    // A set that was begun is of the images that it began with.
    std::fs::remove_dir_all(&out).expect("removed");
    std::fs::write(dir.path().join("set.run/begun"), "").expect("written");
    // A file that is gone before the listing is no part of the source, and what was begun is of another one.
    std::fs::remove_file(&file).expect("removed");
    let (_, stderr) = run(random(&source, &out), 1);
    assert!(stderr.contains("training images") && stderr.contains("--force"), "{stderr}");
    let mut anew = random(&source, &out);
    anew.push("--force");
    run(anew, 0);
    assert!(!Manifest::read(&out).expect("finished").images.is_empty());
}

#[test]
fn damaged_tables_and_sets_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    check(&command_of_two(&source, &out).output().expect("it starts"), 0);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("written");
    };
    // Every table of the working folder, with the set gone, as after a kill.
    for table in ["samples.parquet", "scores.parquet"] {
        std::fs::remove_dir_all(&out).ok();
        let path = dir.path().join("set.run").join(table);
        let before = std::fs::read(&path).expect("there");
        flip(&path);
        let (_, stderr) = check(&command_of_two(&source, &out).output().expect("it starts"), 1);
        assert!(stderr.contains(table) && stderr.contains("other bytes than were written"), "{stderr}");
        std::fs::write(&path, before).expect("written");
    }
    check(&command_of_two(&source, &out).output().expect("it starts"), 0);
    let image = out.join(&Manifest::read(&out).expect("finished").images[1].file);
    let whole = std::fs::read(&image).expect("there");
    flip(&image);
    let name = image.file_name().expect("a file").to_string_lossy().into_owned();
    let train =
        ["train", arg(&out), "--test", arg(&source), "--student", "convnet-1/4", "--protocol", "small", "--quiet"];
    for args in [vec!["verify", arg(&out)], train.to_vec()] {
        let (_, stderr) = run(args, 1);
        assert!(stderr.contains(&name) && stderr.contains("hint:"), "{stderr}");
    }
    std::fs::write(&image, whole).expect("written");
    flip(&out.join("manifest.json"));
    for args in [vec!["verify", arg(&out)], train.to_vec()] {
        let (_, stderr) = run(args, 1);
        assert!(stderr.contains("manifest.json"), "{stderr}");
    }
}

fn command_of_two(source: &Path, out: &Path) -> Command {
    let mut args = vec!["compress", arg(source), "--out", arg(out), "--quiet", "--ipc", "1"];
    args.extend(TINY_PROXY);
    smalti(args)
}

#[test]
fn a_full_disk_and_a_read_only_place_are_one_clear_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 40);
    // No file larger than one block: what a full disk or a quota does, without the rights to make one.
    let out = dir.path().join("set");
    let quoted = random(&source, &out).join(" ").replace("--ipc 2", "--ipc 30 --format parquet");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {} {quoted}", env!("CARGO_BIN_EXE_smalti"));
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    let (_, stderr) = check(&output, 1);
    assert!(stderr.contains("cannot") && stderr.contains("File too large"), "{stderr}");
    assert!(!out.join("manifest.json").exists());
    run(quoted.split(' '), 0);

    let (_, stderr) = run(random(&source, Path::new("/proc/smalti/set")), 1);
    assert!(stderr.contains("/proc/smalti"), "{stderr}");

    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("created");
    let mount = ["-t", "tmpfs", "-o", "size=200k", "tmpfs", arg(&small)];
    let mounted = Command::new("mount").args(mount).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no small disk can be mounted here");
        return;
    }
    let out = small.join("set");
    let quoted = quoted.replace(arg(&dir.path().join("set")), arg(&out));
    let output = smalti(quoted.split(' ')).output();
    let left = out.join("manifest.json").exists();
    Command::new("umount").arg(&small).status().expect("umount runs");
    let (_, stderr) = check(&output.expect("it starts"), 1);
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(!left, "nothing half-visible");
}

/// Damages every `step`-th training image in five ways in turn, compresses, and compares what is said with what was done.
fn damage_and_compress(source: &Path, step: usize) -> BTreeMap<&'static str, usize> {
    let out = source.with_file_name("set");
    let files: Vec<String> = tree(source).into_keys().filter(|name| name.starts_with("train/")).collect();
    let mut done = BTreeMap::new();
    let mut surely_bad = Vec::new();
    let mut damaged = Vec::new();
    for (way, name) in files.iter().step_by(step).enumerate() {
        let path = source.join(name);
        let bytes = std::fs::read(&path).expect("there");
        let mut changed = bytes.clone();
        let (kind, words) = match way % 5 {
            0 => {
                changed.truncate(bytes.len() / 2);
                ("cut short", Some(""))
            }
            1 => {
                changed[1] ^= 0x10;
                ("bits of the header flipped", Some("no known image format"))
            }
            2 => {
                changed[bytes.len() / 2] ^= 0xFF;
                // A JPEG goes on behind damaged data, as in Pillow; a PNG has a checksum.
                ("bits of the data flipped", name.ends_with(".png").then_some(""))
            }
            3 => {
                changed.clear();
                ("no bytes left", Some("the file is empty"))
            }
            _ => ("wrong ending", None),
        };
        *done.entry(kind).or_insert(0) += 1;
        std::fs::write(&path, changed).expect("written");
        let path = match kind {
            "wrong ending" => {
                let other = path.with_extension(if name.ends_with(".png") { "jpg" } else { "png" });
                std::fs::rename(&path, &other).expect("renamed");
                other
            }
            _ => path,
        };
        let name = path.strip_prefix(source).expect("inside").to_string_lossy().into_owned();
        surely_bad.extend(words.map(|words| (name.clone(), words)));
        damaged.push(name);
    }
    let (stdout, _) = run([random(source, &out), vec!["--json"]].concat(), 3);
    let facts: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let skipped: BTreeMap<String, String> = facts["skipped"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| (s["path"].as_str().expect("text").to_owned(), s["cause"].as_str().expect("text").to_owned()))
        .collect();
    for (name, words) in &surely_bad {
        assert!(skipped.get(name).is_some_and(|cause| cause.contains(words)), "{name}: {:?}", skipped.get(name));
    }
    assert!(skipped.keys().all(|name| damaged.contains(name)), "only what was damaged");
    let samples = Samples::read(&source.with_file_name("set.run/samples.parquet")).expect("samples");
    assert_eq!(samples.rows.len(), tree(source).len(), "the counts add up");
    assert_eq!(samples.bad().count(), skipped.len());
    let manifest = Manifest::read(&out).expect("finished");
    let used = manifest.images.iter().flat_map(|image| &image.tiles);
    assert!(used.into_iter().all(|tile| !skipped.contains_key(&*samples.path(tile.sample))));
    done.insert("named by compress", skipped.len());
    done
}

#[test]
fn every_damaged_image_is_named_and_counted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let done = damage_and_compress(&images(dir.path(), 40), 10);
    assert!(done.len() == 6 && done["named by compress"] >= 8, "{done:?}");
}

/// The same with one photograph in a hundred of Imagenette.
#[test]
fn one_percent_of_damaged_photographs_is_named_and_counted() {
    let parquet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/imagenette-128/train.parquet");
    if !parquet.exists() {
        eprintln!("skipped: imagenette-128 of the shared data is not here");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let photos = dir.path().join("photos");
    let source = Source::open(&parquet, &SourceOptions::default()).expect("opens");
    for class in source.classes() {
        std::fs::create_dir_all(photos.join("train").join(class)).expect("created");
    }
    let rows: Vec<u32> = (0..source.len() as u32).collect();
    source
        .for_each(&rows, &|row, bytes| {
            let class = &source.classes()[source.class_id(row) as usize];
            let path = photos.join(format!("train/{class}/{row:05}.jpg"));
            std::fs::write(path, bytes.expect("whole")).expect("written");
        })
        .expect("reads");
    let done = damage_and_compress(&photos, 100);
    eprintln!("{done:?} of {}", rows.len());
    assert_eq!(done.values().sum::<usize>() - done["named by compress"], rows.len().div_ceil(100));
}
