//! States the linker arguments of the wiping heap once: for this crate's tests, and for the program that depends on it.

/// `--wrap=X` sends every undefined reference to `X`, whichever archive it is in, to `__wrap_X`.
const LINK_ARGS: [&str; 2] = ["-Wl,--wrap=free", "-Wl,--wrap=realloc"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for arg in LINK_ARGS {
        println!("cargo:rustc-link-arg={arg}");
    }
    println!("cargo:link_args={}", LINK_ARGS.join(" "));
}
