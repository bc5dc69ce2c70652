//! The names the policy file may use, with the kernel's numbers.

macro_rules! calls {
    ($($name:ident $number:ident,)*) => {
        &[$((stringify!($name), libc::$number),)*]
    };
}

/// System calls: those of the policy, and those its tests show to be absent.
const CALLS: &[(&str, i64)] = calls! {
    accept4 SYS_accept4,
    bind SYS_bind,
    bpf SYS_bpf,
    brk SYS_brk,
    clock_gettime SYS_clock_gettime,
    clock_nanosleep SYS_clock_nanosleep,
    clone SYS_clone,
    clone3 SYS_clone3,
    close SYS_close,
    connect SYS_connect,
    epoll_create1 SYS_epoll_create1,
    epoll_ctl SYS_epoll_ctl,
    epoll_pwait SYS_epoll_pwait,
    epoll_wait SYS_epoll_wait,
    eventfd2 SYS_eventfd2,
    execve SYS_execve,
    execveat SYS_execveat,
    exit SYS_exit,
    exit_group SYS_exit_group,
    fcntl SYS_fcntl,
    fork SYS_fork,
    fstat SYS_fstat,
    futex SYS_futex,
    getpeername SYS_getpeername,
    getpid SYS_getpid,
    getrandom SYS_getrandom,
    getsockname SYS_getsockname,
    getsockopt SYS_getsockopt,
    gettid SYS_gettid,
    init_module SYS_init_module,
    io_uring_setup SYS_io_uring_setup,
    ioctl SYS_ioctl,
    kexec_load SYS_kexec_load,
    listen SYS_listen,
    lseek SYS_lseek,
    madvise SYS_madvise,
    memfd_create SYS_memfd_create,
    mkdirat SYS_mkdirat,
    mmap SYS_mmap,
    mount SYS_mount,
    mprotect SYS_mprotect,
    mremap SYS_mremap,
    munmap SYS_munmap,
    nanosleep SYS_nanosleep,
    newfstatat SYS_newfstatat,
    openat SYS_openat,
    perf_event_open SYS_perf_event_open,
    poll SYS_poll,
    prctl SYS_prctl,
    process_vm_readv SYS_process_vm_readv,
    process_vm_writev SYS_process_vm_writev,
    ptrace SYS_ptrace,
    read SYS_read,
    readv SYS_readv,
    reboot SYS_reboot,
    recvfrom SYS_recvfrom,
    recvmsg SYS_recvmsg,
    restart_syscall SYS_restart_syscall,
    rseq SYS_rseq,
    rt_sigaction SYS_rt_sigaction,
    rt_sigprocmask SYS_rt_sigprocmask,
    rt_sigreturn SYS_rt_sigreturn,
    rt_sigtimedwait SYS_rt_sigtimedwait,
    sched_getaffinity SYS_sched_getaffinity,
    sched_setaffinity SYS_sched_setaffinity,
    sched_yield SYS_sched_yield,
    seccomp SYS_seccomp,
    sendmsg SYS_sendmsg,
    sendto SYS_sendto,
    set_robust_list SYS_set_robust_list,
    setsockopt SYS_setsockopt,
    setuid SYS_setuid,
    shutdown SYS_shutdown,
    sigaltstack SYS_sigaltstack,
    socket SYS_socket,
    statx SYS_statx,
    tgkill SYS_tgkill,
    timerfd_create SYS_timerfd_create,
    timerfd_settime SYS_timerfd_settime,
    unlink SYS_unlink,
    userfaultfd SYS_userfaultfd,
    vfork SYS_vfork,
    write SYS_write,
    writev SYS_writev,
};

/// Constants of arguments and error numbers.
const CONSTANTS: &[(&str, u64)] = &[
    ("ENOSYS", libc::ENOSYS as u64),
    ("ENOENT", libc::ENOENT as u64),
    ("FIONBIO", libc::FIONBIO),
    ("F_GETFL", libc::F_GETFL as u64),
    ("F_SETFL", libc::F_SETFL as u64),
    ("F_GETFD", libc::F_GETFD as u64),
    ("F_SETFD", libc::F_SETFD as u64),
    ("MADV_DONTNEED", libc::MADV_DONTNEED as u64),
    ("O_CREAT", libc::O_CREAT as u64),
    ("O_TRUNC", libc::O_TRUNC as u64),
    ("PROT_EXEC", libc::PROT_EXEC as u64),
    ("PR_SET_NAME", libc::PR_SET_NAME as u64),
    ("PR_SET_VMA", libc::PR_SET_VMA as u64),
    ("SIGABRT", libc::SIGABRT as u64),
    // What glibc's pthread_create asks for: a thread of this process and nothing that could be more.
    (
        "PTHREAD_CREATE",
        (libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID) as u64,
    ),
];

/// Number of a system call.
pub(super) fn system_call(name: &str) -> Option<i64> {
    CALLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Value of a constant.
pub(super) fn constant(name: &str) -> Option<u64> {
    CONSTANTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}
