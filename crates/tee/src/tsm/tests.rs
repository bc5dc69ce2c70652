use super::fake::{FakeEntry, Faults};
use super::*;

fn echo(request: &[u8]) -> Vec<u8> {
    [b"report over ".as_slice(), request].concat()
}

fn reports(entry: &FakeEntry) -> Reports<FakeEntry> {
    Reports::new(entry.clone(), Provider::SevGuest).unwrap()
}

#[test]
fn a_report_answers_the_request_and_carries_what_came_with_it() {
    let mut entry = FakeEntry::new("sev_guest", echo);
    assert_eq!(reports(&entry).ask(&[7; 64]).unwrap(), Answer { outblob: echo(&[7; 64]), auxblob: None });
    entry.certificates = Some(vec![1, 2, 3]);
    assert_eq!(reports(&entry).ask(&[8; 64]).unwrap().auxblob, Some(vec![1, 2, 3]));
    entry.certificates = Some(Vec::new());
    assert_eq!(reports(&entry).ask(&[8; 64]).unwrap().auxblob, None, "an empty table is none");
}

#[test]
fn sev_is_asked_for_level_zero_by_name_and_tdx_has_no_levels() {
    let entry = FakeEntry::new("sev_guest", echo);
    reports(&entry);
    assert_eq!(entry.state.lock().unwrap().privilege.as_deref(), Some(b"0".as_slice()));
    let entry = FakeEntry::new("tdx_guest", echo);
    Reports::new(entry.clone(), Provider::TdxGuest).unwrap();
    assert_eq!(entry.state.lock().unwrap().privilege, None);
}

#[test]
fn another_provider_is_refused() {
    let entry = FakeEntry::new("tdx_guest", echo);
    assert!(matches!(Reports::new(entry, Provider::SevGuest), Err(ReportError::Provider)));
}

#[test]
fn an_answer_to_somebody_elses_request_is_never_given_out() {
    let entry = FakeEntry::new("sev_guest", echo);
    entry.state.lock().unwrap().faults = Faults { intruders: 1, ..Faults::default() };
    assert_eq!(reports(&entry).ask(&[7; 64]).unwrap().outblob, echo(&[7; 64]), "asked again");
    assert_eq!(entry.state.lock().unwrap().requests, 2);
}

#[test]
fn attempts_are_bounded() {
    let after = |faults| {
        let entry = FakeEntry::new("sev_guest", echo);
        entry.state.lock().unwrap().faults = faults;
        let error = reports(&entry).ask(&[7; 64]).unwrap_err();
        assert_eq!(entry.state.lock().unwrap().requests, ATTEMPTS);
        error
    };
    assert!(matches!(after(Faults { intruders: 100, ..Faults::default() }), ReportError::Conflict));
    let busy = after(Faults { busy: 100, ..Faults::default() });
    assert!(matches!(busy, ReportError::File { source, .. } if passing(&source)), "nobody else asked");
}

#[test]
fn a_busy_provider_is_asked_again_and_a_broken_one_is_not() {
    let entry = FakeEntry::new("sev_guest", echo);
    entry.state.lock().unwrap().faults = Faults { busy: 1, ..Faults::default() };
    assert!(reports(&entry).ask(&[7; 64]).is_ok());
    let entry = FakeEntry::new("sev_guest", echo);
    entry.state.lock().unwrap().faults = Faults { broken: Some(libc::EIO), ..Faults::default() };
    assert!(matches!(reports(&entry).ask(&[7; 64]), Err(ReportError::File { file: "outblob", .. })));
    assert_eq!(entry.state.lock().unwrap().requests, 1);
}

#[test]
fn an_answer_without_end_is_refused() {
    let entry = FakeEntry::new("sev_guest", |_| vec![0; BLOB_MAX_BYTES + 1]);
    assert!(matches!(reports(&entry).ask(&[7; 64]), Err(ReportError::TooLong { file: "outblob" })));
}

#[test]
fn requests_of_many_threads_queue() {
    let entry = FakeEntry::new("sev_guest", echo);
    let reports = reports(&entry);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let reports = &reports;
            scope.spawn(move || assert_eq!(reports.ask(&[number; 64]).unwrap().outblob, echo(&[number; 64])));
        }
    });
    assert_eq!(entry.state.lock().unwrap().requests, 16, "none was asked for twice");
}

#[test]
fn files_of_a_directory_are_read_and_written_without_a_path() {
    let parent = tempfile::TempDir::new().unwrap();
    let directory = Directory::open(parent.path()).unwrap();
    let entry = parent.path().join(ENTRY);
    for (name, content) in [("generation", "4\n"), ("inblob", ""), ("outblob", "report"), ("provider", "tdx_guest\n")] {
        std::fs::write(entry.join(name), content).unwrap();
    }
    let moved = parent.path().join("moved");
    std::fs::rename(&entry, &moved).unwrap();
    assert_eq!(directory.read("outblob", 10).unwrap(), b"report");
    directory.write("inblob", &[9; 64]).unwrap();
    assert_eq!(std::fs::read(moved.join("inblob")).unwrap(), [9; 64]);
    assert_eq!(directory.read("outblob", 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(directory.read("auxblob", 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(directory.write("new", b"x").is_err(), "nothing is created");
    let user = nix::unistd::getuid();
    hand_over(directory.0.as_fd(), user.as_raw(), nix::unistd::getgid().as_raw()).unwrap();
    std::fs::remove_file(moved.join("outblob")).unwrap();
    assert!(hand_over(directory.0.as_fd(), user.as_raw(), nix::unistd::getgid().as_raw()).is_err());
}
