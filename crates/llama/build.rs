//! Compiles ggml's CPU backend once more for each processor class of [`VARIANTS`].
//!
//! llama-cpp-sys-2 compiles it once, for the `target-cpu` of the whole program. ggml itself knows several variants side by side only
//! as shared libraries that it opens at run time, which a static program cannot do. Here each variant becomes one
//! relocatable object whose only visible symbol is its registration function; `src/kernels.rs` hands the best one to ggml's
//! registry. Sources are those of the llama-cpp-sys-2 that is linked, found through the metadata it gives its dependents.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a build script has nobody to answer to but cargo, which shows its panic"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// A processor class: the name in `lethe_ggml_cpu_NAME`, and compiler flags that turn its instructions on.
const VARIANTS: [(&str, &[&str]); 2] = [
    ("avx2", &["-march=x86-64-v3"]),
    // What every processor with TDX and every SEV-SNP one from Genoa on has; ggml's AMX kernels run on tiles in software (kernels/tiles.h).
    (
        "avx512",
        &["-march=x86-64-v4", "-mavx512vnni", "-mavx512vbmi", "-mavx512bf16", "-D__AMX_INT8__", "-D__AMX_TILE__"],
    ),
];

/// The sources of CMake's target `ggml-cpu` for x86, from `llama.cpp/ggml/src/ggml-cpu`.
const SOURCES: [&str; 17] = [
    "amx/amx.cpp",
    "amx/mmq.cpp",
    "arch/x86/quants.c",
    "arch/x86/repack.cpp",
    "binary-ops.cpp",
    "ggml-cpu.c",
    "ggml-cpu.cpp",
    "hbm.cpp",
    "llamafile/sgemm.cpp",
    "ops.cpp",
    "quants.c",
    "repack.cpp",
    "tiled/tiled-kernel.cpp",
    "tiled/tiled.cpp",
    "traits.cpp",
    "unary-ops.cpp",
    "vec.cpp",
];

/// As CMake defines them for the variant that llama-cpp-sys-2 builds.
const DEFINES: [&str; 5] =
    ["GGML_USE_CPU_REPACK", "GGML_USE_LLAMAFILE", "_GNU_SOURCE", "NDEBUG", "GGML_SCHED_MAX_COPIES=4"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    let ggml = ggml_source();
    let out = PathBuf::from(variable("OUT_DIR"));
    let baseline = Path::new(&variable("DEP_LLAMA_GGML_CMAKE_DIR")).join("../libggml-cpu.a");
    let baseline = symbols(&["--defined-only", "--extern-only"], &baseline);
    for (name, flags) in VARIANTS {
        let objects = compile(&ggml, &out.join(name), flags);
        let object = seal(name, &objects, &out.join(name));
        check(name, &object, &baseline);
        archive(name, &object, &out);
    }
    println!("cargo:rustc-link-search=native={}", out.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo and llama-cpp-sys-2 set it for build scripts"))
}

/// `llama.cpp/ggml` of the linked llama-cpp-sys-2: it names its CMake package, whose build folder names the source.
fn ggml_source() -> PathBuf {
    let package = PathBuf::from(variable("DEP_LLAMA_GGML_CMAKE_DIR"));
    let cache = package.ancestors().nth(2).unwrap_or(&package).join("build/CMakeCache.txt");
    let text = fs::read_to_string(&cache).unwrap_or_else(|error| panic!("cannot read {}: {error}", cache.display()));
    let home = text.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    Path::new(home.expect("CMake writes its source directory into its cache")).join("ggml")
}

/// File name extension, language standard, and which of [`SOURCES`] belong.
type Group = (&'static str, &'static str, fn(&str) -> bool);

fn compile(ggml: &Path, out: &Path, flags: &[&str]) -> Vec<PathBuf> {
    let source = ggml.join("src/ggml-cpu");
    let mut objects = Vec::new();
    let groups: [Group; 3] = [
        ("c", "-std=gnu11", |file| file.ends_with(".c")),
        ("cpp", "-std=gnu++17", |file| file.ends_with(".cpp") && !file.starts_with("amx/")),
        ("cpp", "-std=gnu++17", |file| file.starts_with("amx/")),
    ];
    for (extension, standard, belongs) in groups {
        let mut build = cc::Build::new();
        build.cpp(extension == "cpp").cpp_link_stdlib(None).out_dir(out).opt_level(3).pic(true).warnings(false);
        build.include(ggml.join("include")).include(ggml.join("src")).include(&source);
        for define in DEFINES {
            let (name, value) = define.split_once('=').map_or((define, None), |(name, value)| (name, Some(value)));
            build.define(name, value);
        }
        build.flag("-w").flag(standard).flag("-ffunction-sections").flag("-fdata-sections");
        if extension == "cpp" {
            // a "unique" symbol could not be hidden
            build.flag("-fno-gnu-unique");
            if flags.contains(&"-D__AMX_TILE__") && belongs("amx/") {
                build.flag("-include").flag(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/tiles.h"));
            }
        }
        // __FILE__ in ggml's assertions would carry the place of the registry into the program
        build.flag(format!("-ffile-prefix-map={}=ggml", ggml.display()));
        for flag in flags {
            build.flag(flag);
        }
        let files = SOURCES.iter().filter(|file| belongs(file));
        build.files(files.map(|file| source.join(file)));
        objects.extend(build.compile_intermediates());
    }
    objects
}

/// One object that shows nothing but its registration function. Groups are dissolved: the linker would otherwise merge an
/// inline function of this variant with the same one of another, and a processor would meet instructions it does not have.
fn seal(name: &str, objects: &[PathBuf], out: &Path) -> PathBuf {
    let merged = out.join("merged.o");
    let sealed = out.join("sealed.o");
    run(Command::new("ld").args(["-r", "--force-group-allocation", "-o"]).arg(&merged).args(objects));
    run(Command::new("objcopy")
        .arg(format!("--redefine-sym=ggml_backend_cpu_reg=lethe_ggml_cpu_{name}"))
        .arg(format!("--keep-global-symbol=lethe_ggml_cpu_{name}"))
        .args([&merged, &sealed]));
    sealed
}

/// Nothing of a variant may run before it was chosen, and nothing of it may be found by another's name.
fn check(name: &str, object: &Path, baseline: &BTreeSet<String>) {
    let sections = run(Command::new("objdump").arg("-h").arg(object));
    assert!(
        !sections.contains(".init_array") && !sections.contains(".ctors"),
        "variant {name} has constructors, which run on every processor"
    );
    let names = symbols(&["--defined-only", "--extern-only"], object);
    assert!(names.iter().eq([&format!("lethe_ggml_cpu_{name}")]), "variant {name} shows other symbols: {names:?}");
    let missing = symbols(&["--undefined-only"], object);
    let taken: Vec<_> = missing.intersection(baseline).collect();
    assert!(
        taken.is_empty(),
        "variant {name} would take these from the baseline's kernels: {taken:?} (is a source missing in SOURCES?)"
    );
}

fn symbols(options: &[&str], file: &Path) -> BTreeSet<String> {
    let text = run(Command::new("nm").args(options).arg(file));
    // a line with one word names a member of an archive
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| words.len() > 1).filter_map(|words| words.last().map(|&name| name.to_owned())).collect()
}

fn archive(name: &str, object: &Path, out: &Path) {
    let library = out.join(format!("liblethe_ggml_cpu_{name}.a"));
    let _ = fs::remove_file(&library);
    run(Command::new("ar").arg("crsD").arg(&library).arg(object));
    println!("cargo:rustc-link-lib=static=lethe_ggml_cpu_{name}");
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error} (binutils)"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
