//! Reads the system call policy, which is a reviewed file of its own: `seccomp.policy`.
//!
//! A line is `allow NAME [CONDITION…] # reason` or `refuse NAME ERRNO # reason`; a condition is `argN == VALUE` or
//! `argN & MASK == VALUE`. Several lines for one name are alternatives, several conditions of a line all hold.
//! A section heading (`[image]`, `[reports]`, `[host]`) limits the lines below it to that way of running. Everything the file does
//! not name kills the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::names::{constant, system_call};

/// The policy. A tree without it does not build.
const POLICY: &str = include_str!("seccomp.policy");

/// How the binary runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As PID 1.
    Image,
    /// As PID 1 of a machine that is asked for reports through configfs.
    ImageWithReports,
    /// As an ordinary program.
    Host,
}

/// A line that is not a rule, or a policy that makes no filter.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A line cannot be read.
    #[error("line {line} of the system call policy: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The rules make no filter.
    #[error("the system call policy makes no filter")]
    Filter(#[source] seccompiler::BackendError),
}

/// What one line says.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    call: i64,
    sections: Option<Profile>,
    verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    /// Allowed where all conditions hold.
    Allow(Vec<SeccompCondition>),
    /// Answered with this error number, unseen by the kernel.
    Refuse(u32),
}

/// The programs of the policy, in the order in which they are installed. The kernel runs all of them and takes the
/// strictest verdict, so a call that one refuses and another allows is refused, and one that none allows kills.
///
/// # Errors
/// [`PolicyError`] if the file is wrong; a test reads it, so that never happens in a build that was tested.
pub fn programs(profile: Profile) -> Result<Vec<BpfProgram>, PolicyError> {
    compile(&parse(POLICY)?, profile)
}

/// How many lines apply, for the console.
///
/// # Errors
/// As [`programs`].
pub fn rule_count(profile: Profile) -> Result<usize, PolicyError> {
    Ok(parse(POLICY)?.iter().filter(|rule| applies(rule, profile)).count())
}

fn applies(rule: &Rule, profile: Profile) -> bool {
    rule.sections
        .is_none_or(|section| section == profile || (section, profile) == (Profile::Image, Profile::ImageWithReports))
}

fn compile(rules: &[Rule], profile: Profile) -> Result<Vec<BpfProgram>, PolicyError> {
    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut refused: BTreeMap<u32, BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| applies(rule, profile)) {
        match &rule.verdict {
            Verdict::Allow(conditions) if conditions.is_empty() => {
                allowed.insert(rule.call, Vec::new());
            }
            Verdict::Allow(conditions) => {
                let conditions = SeccompRule::new(conditions.clone()).map_err(PolicyError::Filter)?;
                allowed.entry(rule.call).or_default().push(conditions);
            }
            Verdict::Refuse(errno) => {
                // Allowed here, or the verdict "kill" of this filter would be the stricter one.
                allowed.insert(rule.call, Vec::new());
                refused.entry(*errno).or_default().insert(rule.call, Vec::new());
            }
        }
    }
    let mut programs = vec![program(allowed, SeccompAction::KillProcess, SeccompAction::Allow)?];
    for (errno, calls) in refused {
        programs.push(program(calls, SeccompAction::Allow, SeccompAction::Errno(errno))?);
    }
    Ok(programs)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    verdict: SeccompAction,
) -> Result<BpfProgram, PolicyError> {
    SeccompFilter::new(rules, otherwise, verdict, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(PolicyError::Filter)
}

fn parse(text: &str) -> Result<Vec<Rule>, PolicyError> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut sections = None;
    for (number, line) in text.lines().enumerate() {
        let failed = |what| PolicyError::Line { line: number + 1, what };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            sections = Some(match line {
                "[image]" => Profile::Image,
                "[reports]" => Profile::ImageWithReports,
                "[host]" => Profile::Host,
                _ => return Err(failed("no such section")),
            });
            continue;
        }
        let (rule, reason) = line.split_once('#').ok_or(failed("a rule has no reason"))?;
        if reason.trim().len() < 10 {
            return Err(failed("a rule has no reason"));
        }
        let rule = parse_rule(rule, sections).map_err(failed)?;
        if rules.iter().any(|earlier| contradicts(earlier, &rule)) {
            return Err(failed("an earlier line already decides this call"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Two lines for one call are alternatives only if both allow it under conditions and both apply to the same runs.
fn contradicts(earlier: &Rule, rule: &Rule) -> bool {
    let overlap = earlier.sections.is_none() || rule.sections.is_none() || earlier.sections == rule.sections;
    let conditional = |rule: &Rule| matches!(&rule.verdict, Verdict::Allow(conditions) if !conditions.is_empty());
    earlier.call == rule.call && overlap && !(conditional(earlier) && conditional(rule) && earlier != rule)
}

fn parse_rule(text: &str, sections: Option<Profile>) -> Result<Rule, &'static str> {
    let mut words = text.split_whitespace();
    let verdict = words.next();
    let call = words.next().and_then(system_call).ok_or("no such system call")?;
    let verdict = match verdict {
        Some("allow") => Verdict::Allow(parse_conditions(&mut words)?),
        Some("refuse") => {
            let errno = words.next().and_then(number).ok_or("no such error number")?;
            Verdict::Refuse(u32::try_from(errno).map_err(|_| "no such error number")?)
        }
        _ => return Err("neither allow nor refuse"),
    };
    if words.next().is_some() {
        return Err("something follows the rule");
    }
    Ok(Rule { call, sections, verdict })
}

fn parse_conditions<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Vec<SeccompCondition>, &'static str> {
    let mut conditions = Vec::new();
    while let Some(word) = words.next() {
        let argument = word
            .strip_prefix("arg")
            .and_then(|digit| digit.parse::<u8>().ok())
            .filter(|index| *index < 6)
            .ok_or("a condition begins with arg0 to arg5")?;
        let (operator, value) = match words.next() {
            Some("==") => (SeccompCmpOp::Eq, words.next()),
            Some("&") => {
                let mask = words.next().and_then(number).ok_or("no such mask")?;
                if words.next() != Some("==") {
                    return Err("a mask is followed by ==");
                }
                (SeccompCmpOp::MaskedEq(mask), words.next())
            }
            _ => return Err("a condition compares with == or &"),
        };
        let value = value.and_then(number).ok_or("no such value")?;
        // All 64 bits, so that nothing hides in the upper half of a register.
        conditions.push(
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
                .map_err(|_| "no such argument")?,
        );
    }
    Ok(conditions)
}

/// A number, or names of constants joined by `|`.
fn number(text: &str) -> Option<u64> {
    text.split('|').try_fold(0, |all, part| {
        let value = match part.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => part.parse().ok().or_else(|| constant(part)),
        };
        value.map(|value| all | value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_reads_and_makes_filters_for_both_ways_of_running() {
        for profile in [Profile::Image, Profile::ImageWithReports, Profile::Host] {
            let programs = programs(profile).unwrap();
            assert!(programs.len() >= 2);
            assert!(programs.iter().all(|program| program.len() < 4096), "the kernel takes no more");
        }
    }

    #[test]
    fn every_rule_has_a_reason_and_a_rule_without_one_is_refused() {
        assert!(parse("allow read # the bytes of requests").is_ok());
        for text in ["allow read", "allow read #", "allow read # yes"] {
            assert!(matches!(parse(text), Err(PolicyError::Line { line: 1, what: "a rule has no reason" })), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_not_skipped() {
        for rule in [
            "permit read",
            "allow raed",
            "allow read arg0",
            "allow read arg6 == 1",
            "allow read arg0 = 1",
            "allow read arg0 & 1",
            "allow read arg0 == ",
            "allow read arg0 == NO_SUCH_NAME",
            "refuse clone3",
            "refuse clone3 ENOSUCH",
            "refuse clone3 ENOSYS more",
        ] {
            assert!(parse(&format!("{rule} # a reason that is long enough")).is_err(), "{rule}");
        }
        assert!(parse("[everyone]").is_err());
    }

    #[test]
    fn a_call_is_decided_once() {
        let twice = |a: &str, b: &str| parse(&format!("{a} # a reason given\n{b} # another reason\n"));
        assert!(twice("allow read", "allow read arg0 == 1").is_err(), "the condition would have no meaning");
        assert!(twice("allow clone3", "refuse clone3 ENOSYS").is_err());
        assert!(twice("allow ioctl arg1 == 1", "allow ioctl arg1 == 1").is_err());
        assert!(twice("allow ioctl arg1 == 1", "allow ioctl arg1 == 2").is_ok());
    }

    #[test]
    fn sections_hold_for_their_way_of_running_only() {
        let text = "allow read # a reason given\n[host]\nallow write # a reason given\n[reports]\nallow openat # a reason given\n\
                    [image]\nallow poll # a reason given\n";
        let rules = parse(text).unwrap();
        let applied = |profile| rules.iter().filter(|rule| applies(rule, profile)).count();
        let counts = [Profile::Image, Profile::ImageWithReports, Profile::Host].map(applied);
        assert_eq!(counts, [2, 3, 2]);
    }

    #[test]
    fn files_are_opened_only_where_reports_need_it_and_none_is_made() {
        let rules = parse(POLICY).unwrap();
        let openat = system_call("openat").unwrap();
        let opens = |profile| rules.iter().any(|rule| rule.call == openat && applies(rule, profile));
        assert_eq!([Profile::Image, Profile::ImageWithReports, Profile::Host].map(opens), [false, true, false]);
        for call in ["mkdirat", "unlink"] {
            let call = system_call(call).unwrap();
            assert!(!rules.iter().any(|rule| rule.call == call && applies(rule, Profile::ImageWithReports)));
        }
    }

    #[test]
    fn numbers_are_names_hexadecimal_or_both() {
        assert_eq!(number("0x10|1|PROT_EXEC"), Some(0x15));
        assert_eq!(number("PROT_EXEC|"), None);
    }

    #[test]
    fn nothing_that_starts_or_looks_into_another_program_is_named() {
        let rules = parse(POLICY).unwrap();
        for forbidden in [
            "execve",
            "execveat",
            "fork",
            "vfork",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "kexec_load",
            "init_module",
            "mount",
            "reboot",
            "setuid",
            "bpf",
            "io_uring_setup",
            "perf_event_open",
            "userfaultfd",
            "memfd_create",
            "socket",
            "connect",
            "bind",
        ] {
            let call = system_call(forbidden).unwrap();
            assert!(!rules.iter().any(|rule| rule.call == call), "{forbidden}");
        }
    }
}
