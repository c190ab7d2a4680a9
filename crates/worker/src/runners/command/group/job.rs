//! The system's job objects, and processes that are put into one before they run.
#![expect(unsafe_code, reason = "the system's own functions")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
};

use windows::Win32::{
    Foundation::HANDLE,
    System::{
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
        },
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JobObjectBasicAccountingInformation, JobObjectExtendedLimitInformation, QueryInformationJobObject,
            SetInformationJobObject, TerminateJobObject,
        },
        Threading::{OpenThread, ResumeThread, THREAD_SUSPEND_RESUME},
    },
};

/// What the processes of a job that is ended exit with.
const ENDED: u32 = 1;

/// A job object. With its last handle, as when this process dies, Windows ends all processes in it.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    pub(super) fn new() -> io::Result<Self> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: nobody else has the new handle, and the limits are what their number says.
        unsafe {
            let job = Self(OwnedHandle::from_raw_handle(CreateJobObjectW(None, None)?.0));
            let size = size_of_val(&limits) as u32;
            SetInformationJobObject(job.handle(), JobObjectExtendedLimitInformation, (&raw const limits).cast(), size)?;
            Ok(job)
        }
    }

    /// Puts a process into it; what that one starts from then on is in it too.
    pub(super) fn take(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: both handles are open.
        unsafe { AssignProcessToJobObject(self.handle(), HANDLE(process.as_raw_handle())) }.map_err(Into::into)
    }

    /// Begins to end all processes in it.
    pub(super) fn terminate(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(self.handle(), ENDED) }.map_err(Into::into)
    }

    /// How many processes in it have not ended.
    pub(super) fn members(&self) -> io::Result<u32> {
        let mut counts = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open, and there is room for what the number says.
        unsafe {
            let size = size_of_val(&counts) as u32;
            let into = (&raw mut counts).cast();
            QueryInformationJobObject(Some(self.handle()), JobObjectBasicAccountingInformation, into, size, None)?;
        }
        Ok(counts.ActiveProcesses)
    }

    fn handle(&self) -> HANDLE {
        HANDLE(self.0.as_raw_handle())
    }
}

/// Lets a process run that was started suspended.
pub(super) fn resume(process: u32) -> io::Result<()> {
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    // SAFETY: the entry says how large it is, and nobody else has the new handles.
    unsafe {
        let all = OwnedHandle::from_raw_handle(CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0)?.0);
        let mut more = Thread32First(HANDLE(all.as_raw_handle()), &raw mut entry);
        let mut resumed = false;
        while more.is_ok() {
            if entry.th32OwnerProcessID == process {
                // Its first one, and those that a scanner may have put into it.
                let thread = OpenThread(THREAD_SUSPEND_RESUME, false, entry.th32ThreadID)?;
                let thread = OwnedHandle::from_raw_handle(thread.0);
                match ResumeThread(HANDLE(thread.as_raw_handle())) {
                    u32::MAX => return Err(io::Error::last_os_error()),
                    suspended => resumed |= suspended > 0,
                }
            }
            more = Thread32Next(HANDLE(all.as_raw_handle()), &raw mut entry);
        }
        if resumed { Ok(()) } else { Err(io::Error::other("a program that was started has no thread that waits")) }
    }
}
