//! Links the wiping heap into every program of this package: `wipe` says with which linker arguments.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let args = std::env::var("DEP_WIPE_LINK_ARGS").unwrap_or_default();
    // Without them the heap would not be wiped and nothing else would show it: that is no build.
    assert!(!args.is_empty(), "crates/wipe gave no linker arguments");
    for arg in args.split(' ') {
        println!("cargo:rustc-link-arg={arg}");
    }
}
