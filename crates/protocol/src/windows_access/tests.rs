use super::*;

const ANN: &str = "S-1-5-21-1-2-3-1001";
const BOB: &str = "S-1-5-21-1-2-3-1002";
const WORKER: &str = "S-1-5-80-1-2-3-4-5";
/// As Windows has it for a directory that anybody makes below the data of programs.
const PROGRAM_DATA: &str =
    "D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)";

#[test]
fn a_secret_is_shown_to_nobody_else() {
    let private = private_directory(ANN);
    let file = |entries: &str| format!("D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA){entries}");
    let strangers = |list: &str| strangers(list, &private, ANN);
    assert_eq!(strangers(&file("(A;ID;FA;;;S-1-5-21-1-2-3-1001)")), [""; 0]);
    assert_eq!(strangers(&file("(A;;FR;;;BU)(A;;0x1;;;WD)")), ["S-1-1-0", "S-1-5-32-545"]);
    assert_eq!(strangers(&file(&format!("(A;;FR;;;{BOB})"))), [BOB]);
    assert_eq!(
        strangers(&file(&format!("(A;;FR;;;{WORKER})"))),
        [""; 0],
        "a service is let in by whoever installed it"
    );
    assert_eq!(strangers(&file("(A;;FR;;;S-1-5-80-0)")), ["S-1-5-80-0"], "all services are not one");
    // Neither a refusal, nor what is for content alone, nor writing shows anything.
    assert_eq!(strangers(&file("(D;;FA;;;WD)(A;OICIIO;GA;;;WD)(A;;FX;;;WD)")), [""; 0]);
    // No list at all lets everybody in.
    assert_eq!(strangers("D:NO_ACCESS_CONTROL"), ["S-1-1-0"]);
    assert_eq!(strangers(""), ["S-1-1-0"]);
    // What isn't understood is taken for the worst.
    assert_eq!(strangers(&file("(A;;XY;;;ZZ)")), ["ZZ"]);
}

#[test]
fn whom_a_directory_was_closed_for_may_read_what_lies_in_it() {
    let file = format!("D:AI(A;ID;FA;;;SY)(A;ID;FR;;;{BOB})(A;ID;FR;;;AU)");
    let closed = format!("D:PAI(A;OICI;FA;;;SY)(A;OICI;FR;;;{BOB})(A;OICI;FR;;;AU)");
    let open = closed.replace("D:PAI", "D:AI");
    assert_eq!(strangers(&file, &closed, ANN), ["S-1-5-11"], "but not everybody who logs in");
    assert_eq!(strangers(&file, &open, ANN), ["S-1-5-11", BOB]);
}

#[test]
fn what_is_made_private_is() {
    let directory = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;{WORKER})");
    let file = format!("D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1301bf;;;{WORKER})(A;ID;FR;;;BU)(A;ID;FA;;;{BOB})");
    let private = private_file(&file, &directory, WORKER);
    assert_eq!(private, format!("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{WORKER})"));
    assert_eq!(strangers(&private, PROGRAM_DATA, WORKER), [""; 0]);
    assert_eq!(
        private_file(&file, PROGRAM_DATA, ANN),
        format!("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{ANN})(A;;0x1301bf;;;{WORKER})")
    );
    assert_eq!(private_file("", PROGRAM_DATA, SYSTEM), "D:P(A;;FA;;;SY)(A;;FA;;;BA)");
    assert_eq!(strangers(&private_directory(ANN), PROGRAM_DATA, ANN), [""; 0]);
}

/// Or else the service would refuse what an administrator wrote for it, as `join` does.
#[test]
fn what_an_administrator_writes_for_a_service_is_the_services() {
    let directory = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;{WORKER})");
    let file = format!("D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1301bf;;;{WORKER})");
    let private = private_file(&file, &directory, ANN);
    assert_eq!(private, format!("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1301bf;;;{WORKER})"));
    assert_eq!(strangers(&private, &directory, WORKER), [""; 0]);
    assert_eq!(strangers(&format!("{private}(A;;FA;;;{ANN})"), &directory, WORKER), [ANN]);
    // One that is the user's own, or everybody's, is closed for nobody else.
    let owners = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)".to_owned();
    for open in
        [private_directory(ANN), format!("{directory}(A;OICI;FR;;;WD)"), directory.replace("D:P", "D:AI"), owners]
    {
        assert!(private_file(&file, &open, ANN).contains(ANN), "{open}");
    }
}

#[test]
fn only_whom_a_directory_is_meant_for_may_serve_it() {
    let directory = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;{WORKER})(A;OICI;FA;;;BU)");
    for owner in [SYSTEM, ADMINISTRATORS, ANN, WORKER] {
        assert!(may_serve(owner, &directory, ANN), "{owner}");
    }
    for owner in [BOB, "S-1-5-32-545", "S-1-5-80-9-9-9-9-9"] {
        assert!(!may_serve(owner, &directory, ANN), "{owner}");
    }
}

#[cfg(windows)]
#[test]
fn this_machines_own_accounts_are_known_by_their_numbers() {
    let administrator = number_of("LA");
    assert!(administrator.starts_with("S-1-5-21-") && administrator.ends_with("-500"), "{administrator}");
    assert_eq!(number_of("ZZ"), "ZZ");
}

#[test]
fn whoever_may_change_a_directory_is_found() {
    assert_eq!(changers(PROGRAM_DATA), ["S-1-5-32-545"]);
    assert_eq!(changers("D:PAI(A;;FA;;;SY)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;OICI;FA;;;BA)"), [""; 0]);
    assert_eq!(changers(&format!("D:P(A;;FA;;;BA)(A;;FA;;;{BOB})")), [BOB]);
    assert_eq!(changers("D:NO_ACCESS_CONTROL"), ["S-1-1-0"]);
}
