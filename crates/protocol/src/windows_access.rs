//! Who may do what with a file or directory of Windows, as text in the security descriptor definition language
//! ([MS-DTYP] 2.5.1): `D:P(A;;FA;;;SY)` lets only the system in.
//!
//! Everything that decides is text and is tested everywhere; only asking and telling the system is Windows' own.

#[cfg(windows)]
mod system;
#[cfg(test)]
mod tests;

#[cfg(windows)]
pub use self::system::{access, account, create_directory, maker, owner, owner_of_pipe, set_access, user, with_access};

/// The system itself, and administrators: they get at everything anyway.
pub const SYSTEM: &str = "S-1-5-18";
/// The group of administrators.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";

/// The accounts that services may share.
const SERVICES: [&str; 2] = ["S-1-5-19", "S-1-5-20"];
/// Windows' own installer, and whoever makes or owns a thing: never more than is named beside them.
const STAND_INS: [&str; 3] = ["S-1-3-0", "S-1-3-4", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];

/// What SDDL calls those that matter here.
const ALIASES: [(&str, &str); 12] = [
    ("SY", SYSTEM),
    ("BA", ADMINISTRATORS),
    ("LS", "S-1-5-19"),
    ("NS", "S-1-5-20"),
    ("CO", "S-1-3-0"),
    ("OW", "S-1-3-4"),
    ("WD", "S-1-1-0"),
    ("AN", "S-1-5-7"),
    ("AU", "S-1-5-11"),
    ("IU", "S-1-5-4"),
    ("BU", "S-1-5-32-545"),
    ("BG", "S-1-5-32-546"),
];

/// Rights by their names in SDDL: generic, of files, and of a directory's.
const RIGHTS: [(&str, u32); 18] = [
    ("GA", 0x1000_0000),
    ("GR", 0x8000_0000),
    ("GW", 0x4000_0000),
    ("GX", 0x2000_0000),
    ("FA", 0x001f_01ff),
    ("FR", 0x0012_0089),
    ("FW", 0x0012_0116),
    ("FX", 0x0012_00a0),
    ("RC", 0x0002_0000),
    ("SD", 0x0001_0000),
    ("WD", 0x0004_0000),
    ("WO", 0x0008_0000),
    ("CC", 0x0001),
    ("DC", 0x0002),
    ("LC", 0x0004),
    ("SW", 0x0008),
    ("RP", 0x0010),
    ("WP", 0x0020),
];

/// Reading what is in it.
const READING: u32 = 0x1000_0000 | 0x8000_0000 | 0x1;
/// Changing it, what is in it, or who may.
const CHANGING: u32 = 0x1000_0000 | 0x4000_0000 | 0x0001_0000 | 0x0004_0000 | 0x0008_0000 | 0x0002 | 0x0004 | 0x0040;

/// One entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    allows: bool,
    flags: String,
    rights: String,
    who: String,
}

impl Entry {
    fn mask(&self) -> u32 {
        if let Some(number) = self.rights.strip_prefix("0x") {
            // What isn't understood is everything.
            return u32::from_str_radix(number, 16).unwrap_or(u32::MAX);
        }
        let pairs = self.rights.as_bytes().chunks(2);
        pairs
            .map(|name| RIGHTS.iter().find(|(known, _)| known.as_bytes() == name).map_or(u32::MAX, |(_, mask)| *mask))
            .fold(0, |all, mask| all | mask)
    }

    /// Whether it is for the directory's content alone.
    fn only_inherits(&self) -> bool {
        self.flags.as_bytes().chunks(2).any(|flag| flag == b"IO")
    }
}

/// An access list that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    /// Nothing comes from the directory above.
    protected: bool,
    /// `None`: there is no list, and everybody may everything.
    entries: Option<Vec<Entry>>,
}

impl List {
    fn parse(text: &str) -> Self {
        let Some((_, list)) = text.split_once("D:") else { return Self { protected: false, entries: None } };
        let list = list.split_once("S:(").map_or(list, |(list, _)| list);
        let (flags, entries) = list.split_at(list.find('(').unwrap_or(list.len()));
        if flags.contains("NO_ACCESS_CONTROL") {
            return Self { protected: false, entries: None };
        }
        let entries = entries.split(['(', ')']).filter(|entry| entry.contains(';')).map(|entry| {
            let mut parts = entry.splitn(7, ';');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            let (kind, flags, rights) = (part(), part(), part());
            let (_, _, who) = (part(), part(), part());
            Entry { allows: !kind.contains('D'), flags, rights, who: number_of(&who) }
        });
        Self { protected: flags.starts_with('P') || flags.contains("AIP"), entries: Some(entries.collect()) }
    }

    /// Whether `user` gets in only as an administrator, if at all.
    fn is_closed_for_others(&self, user: &str) -> bool {
        // Or the directory is the user's: what is made in it is too, and its owner may be let in under no other name.
        let is_owner = |who: &str| who.starts_with("S-1-3-");
        let lets_in = |who: &String| who == user || is_owner(who) || (is_many(who) && who != ADMINISTRATORS);
        self.protected && !self.whom(READING).iter().any(lets_in)
    }

    /// Who may do any of that, to the thing itself.
    fn whom(&self, rights: u32) -> Vec<String> {
        let Some(entries) = &self.entries else { return vec!["S-1-1-0".to_owned()] };
        let allowed =
            entries.iter().filter(|entry| entry.allows && !entry.only_inherits() && entry.mask() & rights != 0);
        allowed.map(|entry| entry.who.clone()).collect()
    }
}

fn number_of(who: &str) -> String {
    let known = ALIASES.iter().find(|(alias, _)| *alias == who).map(|(_, number)| (*number).to_owned());
    known.or_else(|| sid_of_alias(who)).unwrap_or_else(|| who.to_owned())
}

/// What other aliases stand for depends on the machine: `LA` is its own Administrator, which many people work as.
#[cfg(windows)]
fn sid_of_alias(alias: &str) -> Option<String> {
    system::sid_of_alias(alias).ok()
}

#[cfg(not(windows))]
fn sid_of_alias(_: &str) -> Option<String> {
    None
}

/// Whether it stands for more than a service or a person.
fn is_many(who: &str) -> bool {
    // Services, guests and users of all kinds; "ALL SERVICES"; the users of a domain; application packages.
    let groups = [
        "S-1-1-0",
        "S-1-5-2",
        "S-1-5-3",
        "S-1-5-4",
        "S-1-5-6",
        "S-1-5-7",
        "S-1-5-11",
        "S-1-5-13",
        "S-1-5-14",
        "S-1-5-15",
        "S-1-5-80-0",
    ];
    groups.contains(&who) || who.starts_with("S-1-5-32-") || who.starts_with("S-1-15-") || who.starts_with("S-1-2-") || (who.starts_with("S-1-5-21-") && (who.ends_with("-513") || who.ends_with("-514") || who.ends_with("-515")))
        // Another name of SDDL, which only groups have.
        || !who.starts_with("S-1-")
}

/// Whether somebody belongs to those whom a secret of `user` may be shown to: the system, administrators, the user, accounts of
/// services, and whom a directory was closed for all others for.
fn is_trusted(who: &str, user: &str, directory: &List) -> bool {
    let is_service = who.starts_with("S-1-5-80-") && who != "S-1-5-80-0";
    let let_in = || directory.protected && !is_many(who) && directory.whom(READING).iter().any(|other| other == who);
    [SYSTEM, ADMINISTRATORS, user].contains(&who)
        || SERVICES.contains(&who)
        || STAND_INS.contains(&who)
        || is_service
        || let_in()
}

/// Who else may read what only `user` should: empty if nobody. Both are descriptors: of the file, and of its directory.
pub fn strangers(file: &str, directory: &str, user: &str) -> Vec<String> {
    let directory = List::parse(directory);
    let mut found = List::parse(file).whom(READING);
    found.retain(|who| !is_trusted(who, user, &directory));
    found.sort();
    found.dedup();
    found
}

/// Whether nothing comes to a thing from the directory above it.
pub fn is_protected(descriptor: &str) -> bool {
    List::parse(descriptor).protected
}

/// Who but administrators and the system may change something: empty if nobody.
pub fn changers(descriptor: &str) -> Vec<String> {
    let mut found = List::parse(descriptor).whom(CHANGING);
    found.retain(|who| ![SYSTEM, ADMINISTRATORS].contains(&who.as_str()) && !STAND_INS.contains(&who.as_str()));
    found.sort();
    found.dedup();
    found
}

/// Whether whoever owns something is one whom a directory is meant for: the system, administrators, `user`, and whom it lets
/// change it, a service for one. (Its own owner is too.)
pub fn may_serve(owner: &str, directory: &str, user: &str) -> bool {
    let is_meant = || !is_many(owner) && changers(directory).iter().any(|who| who == owner);
    [SYSTEM, ADMINISTRATORS, user].contains(&owner) || is_meant()
}

/// The access list of a file that holds a secret, written by `user`: the system's and the administrators', and the services' that
/// its directory lets in. Nothing comes from the directory above any more. The user is let in too, unless the directory is closed
/// for somebody else: what an administrator writes for a service is the service's, and not for whatever that person runs.
pub fn private_file(file: &str, directory: &str, user: &str) -> String {
    let directory = List::parse(directory);
    let own = if directory.is_closed_for_others(user) { String::new() } else { own("", user) };
    let kept = List::parse(file).entries.unwrap_or_default().into_iter().filter(|entry| {
        entry.allows
            && !entry.only_inherits()
            && ![SYSTEM, ADMINISTRATORS, user].contains(&entry.who.as_str())
            && is_trusted(&entry.who, user, &directory)
            && !entry.who.starts_with("S-1-3-")
    });
    let list = format!("D:P(A;;FA;;;SY)(A;;FA;;;BA){own}");
    kept.fold(list, |list, entry| format!("{list}(A;;{};;;{})", entry.rights, entry.who))
}

/// The access list of a directory that holds secrets of `user`, which all that is made in it gets too.
pub fn private_directory(user: &str) -> String {
    format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA){}", own("OICI", user))
}

/// The access list of a named pipe of `user`.
pub fn private_pipe(user: &str) -> String {
    format!("D:P(A;;GA;;;SY)(A;;GA;;;BA){}", if user == SYSTEM { String::new() } else { format!("(A;;GA;;;{user})") })
}

fn own(flags: &str, user: &str) -> String {
    if user == SYSTEM { String::new() } else { format!("(A;{flags};FA;;;{user})") }
}
