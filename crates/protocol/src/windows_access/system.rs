//! Asking Windows for security descriptors, and telling it.
#![expect(unsafe_code, reason = "the system's own functions")]

use std::{
    ffi::{OsStr, c_void},
    fs::{File, OpenOptions},
    io, iter,
    os::windows::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
        io::{AsRawHandle, BorrowedHandle},
    },
    path::Path,
};

use windows::{
    Win32::{
        Foundation::{CloseHandle, HANDLE, HLOCAL, LocalFree, WIN32_ERROR},
        Security::{
            ACL,
            Authorization::{
                ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
                ConvertStringSecurityDescriptorToSecurityDescriptorW, ConvertStringSidToSidW, GetNamedSecurityInfoW,
                GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT, SE_KERNEL_OBJECT, SetSecurityInfo,
            },
            DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetTokenInformation, LookupAccountNameW,
            OBJECT_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
            PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, SID_NAME_USE, SetKernelObjectSecurity,
            TOKEN_INFORMATION_CLASS, TOKEN_OWNER, TOKEN_QUERY, TOKEN_USER, TokenOwner, TokenUser,
            UNPROTECTED_DACL_SECURITY_INFORMATION,
        },
        Storage::FileSystem::{
            CreateDirectoryW, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
            FILE_READ_ATTRIBUTES, READ_CONTROL, WRITE_DAC,
        },
        System::Threading::{GetCurrentProcess, OpenProcessToken},
    },
    core::{BOOL, PCWSTR, PWSTR},
};

/// The largest SID has 68 bytes (winnt.h, `SECURITY_MAX_SID_SIZE`); with the structure that points to it.
const USER_BYTES: usize = 128;

/// The access list of a file or directory.
pub fn access(path: &Path) -> io::Result<String> {
    ask(path, DACL_SECURITY_INFORMATION)
}

/// The owner of a file or directory, as a SID.
pub fn owner(path: &Path) -> io::Result<String> {
    Ok(owner_in(&ask(path, OWNER_SECURITY_INFORMATION)?))
}

fn owner_in(descriptor: &str) -> String {
    super::number_of(descriptor.trim_start_matches("O:"))
}

/// The owner of what a handle of a pipe leads to: of its other end, as a SID. The handle must have been opened to read.
pub fn owner_of_pipe(pipe: BorrowedHandle<'_>) -> io::Result<String> {
    let (handle, mut descriptor) = (HANDLE(pipe.as_raw_handle()), PSECURITY_DESCRIPTOR::default());
    let what = OWNER_SECURITY_INFORMATION;
    // SAFETY: the handle is open; the descriptor is this function's to free.
    let owner = unsafe {
        check(GetSecurityInfo(handle, SE_KERNEL_OBJECT, what, None, None, None, None, Some(&raw mut descriptor)))?;
        text_of_descriptor(&Descriptor(descriptor), what)?
    };
    Ok(owner_in(&owner))
}

/// Gives a file or directory an access list. If that is protected (`D:P…`), nothing comes from the directory above any more. What
/// lies in a directory gets what the list says for it.
///
/// # Errors
/// Also if it is a link or a mount point: whoever made that chose what it leads to.
pub fn set_access(path: &Path, list: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(list)?;
    let (mut present, mut by_default) = (BOOL::default(), BOOL::default());
    let mut acl: *mut ACL = std::ptr::null_mut();
    let from_above = if super::is_protected(list) {
        PROTECTED_DACL_SECURITY_INFORMATION
    } else {
        UNPROTECTED_DACL_SECURITY_INFORMATION
    };
    let what = DACL_SECURITY_INFORMATION | from_above;
    let thing = open_itself(path)?;
    let handle = HANDLE(thing.as_raw_handle());
    if !thing.metadata()?.is_dir() {
        // Nothing lies in it that would have to be told, and so it is set as it is written.
        // SAFETY: the descriptor and the handle live until the end.
        return unsafe { SetKernelObjectSecurity(handle, what, descriptor.0) }.map_err(plain);
    }
    // SAFETY: `acl` points into `descriptor`, which lives until the end, as the handle does.
    unsafe {
        GetSecurityDescriptorDacl(descriptor.0, &raw mut present, &raw mut acl, &raw mut by_default).map_err(plain)?;
        check(SetSecurityInfo(handle, SE_FILE_OBJECT, what, None, None, Some(acl), None))
    }
}

/// Opens a thing, and not what it may lead to, so that its access list can be set.
fn open_itself(path: &Path) -> io::Result<File> {
    let access = READ_CONTROL.0 | WRITE_DAC.0 | FILE_READ_ATTRIBUTES.0;
    let flags = FILE_FLAG_BACKUP_SEMANTICS.0 | FILE_FLAG_OPEN_REPARSE_POINT.0;
    let thing = OpenOptions::new().access_mode(access).custom_flags(flags).open(path)?;
    if thing.metadata()?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT.0 != 0 {
        return Err(io::Error::other("it is a link to somewhere else"));
    }
    Ok(thing)
}

/// Makes a directory that has an access list from its first moment.
pub fn create_directory(path: &Path, list: &str) -> io::Result<()> {
    let name = wide(path.as_os_str());
    with_access(list, |attributes| {
        // SAFETY: the attributes are valid until the call returns; `name` ends with a zero.
        unsafe { CreateDirectoryW(PCWSTR(name.as_ptr()), Some(attributes.cast())) }.map_err(plain)
    })
}

/// Has something be made with an access list: `make` gets a pointer to `SECURITY_ATTRIBUTES`, which are valid until it returns.
pub fn with_access<T>(list: &str, make: impl FnOnce(*mut c_void) -> io::Result<T>) -> io::Result<T> {
    let descriptor = Descriptor::parse(list)?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0.0,
        bInheritHandle: false.into(),
    };
    make((&raw mut attributes).cast())
}

/// What SDDL's two letters for an account stand for on this machine.
pub(super) fn sid_of_alias(alias: &str) -> io::Result<String> {
    let alias = wide(OsStr::new(alias));
    let mut sid = PSID::default();
    // SAFETY: `alias` ends with a zero; the SID is this function's to free, and is read before.
    unsafe {
        ConvertStringSidToSidW(PCWSTR(alias.as_ptr()), &raw mut sid).map_err(plain)?;
        let text = text_of(sid);
        LocalFree(Some(HLOCAL(sid.0)));
        text
    }
}

/// The user of this process, as a SID.
pub fn user() -> io::Result<String> {
    // SAFETY: what is found then is a TOKEN_USER.
    of_token(TokenUser, |found| unsafe { (*found.cast::<TOKEN_USER>()).User.Sid })
}

/// Whose is what this process makes, as a SID: its user's, or of administrators their group's.
pub fn maker() -> io::Result<String> {
    // SAFETY: what is found then is a TOKEN_OWNER.
    of_token(TokenOwner, |found| unsafe { (*found.cast::<TOKEN_OWNER>()).Owner })
}

fn of_token(what: TOKEN_INFORMATION_CLASS, sid: impl FnOnce(*const u64) -> PSID) -> io::Result<String> {
    let mut token = HANDLE::default();
    // Aligned as the structures want it.
    let mut found = [0_u64; USER_BYTES / 8];
    let mut length = 0;
    // SAFETY: the buffer has the length that is told; the SID that what it holds then points to lies in the same buffer.
    unsafe {
        OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token).map_err(plain)?;
        let asked =
            GetTokenInformation(token, what, Some(found.as_mut_ptr().cast()), USER_BYTES as u32, &raw mut length);
        let _ = CloseHandle(token);
        asked.map_err(plain)?;
        text_of(sid(found.as_ptr()))
    }
}

/// An account by its name, as a SID.
pub fn account(name: &str) -> io::Result<String> {
    let name = wide(OsStr::new(name));
    let (mut sid, mut sid_length) = ([0_u64; USER_BYTES / 8], USER_BYTES as u32);
    let (mut domain, mut domain_length) = ([0_u16; 256], 256);
    let mut kind = SID_NAME_USE::default();
    let place = PSID(sid.as_mut_ptr().cast());
    // SAFETY: the buffers have the lengths that are told; `name` ends with a zero.
    unsafe {
        LookupAccountNameW(
            PCWSTR::null(),
            PCWSTR(name.as_ptr()),
            Some(place),
            &raw mut sid_length,
            Some(PWSTR(domain.as_mut_ptr())),
            &raw mut domain_length,
            &raw mut kind,
        )
        .map_err(plain)?;
        text_of(place)
    }
}

fn ask(path: &Path, what: OBJECT_SECURITY_INFORMATION) -> io::Result<String> {
    let name = wide(path.as_os_str());
    let mut descriptor = PSECURITY_DESCRIPTOR::default();
    // SAFETY: the descriptor is the caller's to free; `name` ends with a zero.
    unsafe {
        check(GetNamedSecurityInfoW(
            PCWSTR(name.as_ptr()),
            SE_FILE_OBJECT,
            what,
            None,
            None,
            None,
            None,
            &raw mut descriptor,
        ))?;
        text_of_descriptor(&Descriptor(descriptor), what)
    }
}

fn text_of_descriptor(descriptor: &Descriptor, what: OBJECT_SECURITY_INFORMATION) -> io::Result<String> {
    let mut text = PWSTR::null();
    // SAFETY: the descriptor is valid; the text is allocated for this function.
    unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(descriptor.0, SDDL_REVISION_1, what, &raw mut text, None)
            .map_err(plain)?;
        take(text)
    }
}

/// A descriptor that the system has allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn parse(list: &str) -> io::Result<Self> {
        let list = wide(OsStr::new(list));
        let mut descriptor = PSECURITY_DESCRIPTOR::default();
        // SAFETY: `list` ends with a zero, and the descriptor is this value's to free.
        unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                PCWSTR(list.as_ptr()),
                SDDL_REVISION_1,
                &raw mut descriptor,
                None,
            )
            .map_err(plain)?;
        }
        Ok(Self(descriptor))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was allocated with LocalAlloc, and nothing points to it any more.
        unsafe { LocalFree(Some(HLOCAL(self.0.0))) };
    }
}

/// # Safety
/// It must be a SID.
unsafe fn text_of(sid: PSID) -> io::Result<String> {
    let mut text = PWSTR::null();
    // SAFETY: the caller's; the text is allocated for this function.
    unsafe {
        ConvertSidToStringSidW(sid, &raw mut text).map_err(plain)?;
        take(text)
    }
}

/// # Safety
/// It must be a text that the system has allocated with `LocalAlloc`, and that nobody else frees.
unsafe fn take(text: PWSTR) -> io::Result<String> {
    // SAFETY: the caller's.
    unsafe {
        let taken = text.to_string();
        LocalFree(Some(HLOCAL(text.0.cast())));
        taken.map_err(io::Error::other)
    }
}

fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain(iter::once(0)).collect()
}

/// With Windows' own number instead of the HRESULT that it is wrapped in: it is what callers and people know.
fn plain(error: windows::core::Error) -> io::Error {
    WIN32_ERROR::from_error(&error)
        .map_or_else(|| error.into(), |error| io::Error::from_raw_os_error(error.0.cast_signed()))
}

fn check(error: WIN32_ERROR) -> io::Result<()> {
    if error.0 == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error.0.cast_signed())) }
}
