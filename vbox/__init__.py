"""Drive VirtualBox through VBoxManage. Knows nothing of classrooms; needs only Python."""
