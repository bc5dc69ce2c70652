//! `lethe policy`.

use std::fs;

use super::{corpus::test_policy, run::lethe};

#[test]
fn every_built_in_policy_is_shown_whole_and_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.toml");
    for name in ["dev", "hardware", "standard", "strict"] {
        let shown = lethe(&["policy", "show", name]);
        assert_eq!(shown.status, Some(0), "{shown}");
        assert!(shown.stdout.contains(&format!("name = \"{name}\"")), "{shown}");
        for line in shown.stdout.lines().filter(|line| line.contains("{ is = ") && line.contains(" }")) {
            assert!(line.contains("because = \""), "{line}");
        }
        fs::write(&path, &shown.stdout).unwrap();
        let checked = lethe(&["policy", "check", path.to_str().unwrap()]);
        assert_eq!(checked.status, Some(0), "{checked}");
        assert!(checked.stdout.contains("extends        nothing: it is complete"), "{checked}");
        assert_eq!(lethe(&["policy", "show", path.to_str().unwrap()]).stdout, without_comments(&shown.stdout));
    }
    assert_eq!(lethe(&["policy", "show", "paranoid"]).status, Some(2));
    assert_eq!(lethe(&["policy", "show"]).status, Some(2));
}

/// A policy that was saved has every line itself.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn a_policy_of_ones_own_is_checked_and_what_is_wrong_is_said() {
    let own = test_policy("vlek-aws");
    let said = lethe(&["policy", "check", &own]);
    assert_eq!(said.status, Some(0), "{said}");
    assert!(said.stdout.contains("replaces       sev_snp.vmpl_max is 1, was 0: the provider's guests"), "{said}");
    assert!(said.stdout.ends_with("\nverdict        valid\n"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let text = fs::read_to_string(own).unwrap();
    for (changed, reason) in [
        (text.replace("vmpl_max", "vmpl_min"), "unknown field `vmpl_min`"),
        (text.replace("is = 1", "is = \"one\""), "invalid type"),
        (text.replace("\"hardware\"", "\"software\""), "extends an embedded policy"),
        (text.replace("the provider's guests ask from level 1", " "), "needs a reason"),
        ("a = ".to_owned(), "cannot be read"),
        ("#".repeat(70_000), "65536 bytes"),
        ("#".repeat(5 << 20), "larger than"),
    ] {
        fs::write(&path, changed).unwrap();
        let said = lethe(&["policy", "check", path.to_str().unwrap()]);
        assert_eq!(said.status, Some(2), "{said}");
        assert!(said.stderr.contains(reason), "{reason}: {said}");
        assert_eq!(said.stdout, "");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(lethe(&["policy", "check", path.to_str().unwrap()]).status, Some(2));
    // A built-in name is not a file.
    assert_eq!(lethe(&["policy", "check", "standard"]).status, Some(2));
}
