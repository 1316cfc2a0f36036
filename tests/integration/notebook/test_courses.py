"""A course: a teacher and two students, one of whom would like to see and change more."""

from guest import Guest
from student import Student

MATERIAL, HAND_OUT, HAND_IN = (f"courses/algebra/{p}" for p in ("material", "hand-out", "hand-in"))


def test_each_sees_and_changes_the_own_part_of_a_course(guest: Guest) -> None:
    everybody = [Student(guest.url, name).sign_in().start() for name in ("noether", "emmy", "carl")]
    noether, emmy, carl = (student.kernel() for student in everybody)
    noether.shell(
        f"echo ring > {MATERIAL}/notes; mkdir {HAND_OUT}/1; echo why > {HAND_OUT}/1/sheet"
    )
    assert emmy.shell(f"cat {MATERIAL}/notes {HAND_OUT}/1/sheet") == "ring\nwhy\n"
    emmy.shell(f"echo because > {HAND_IN}/answer; chmod 0 {HAND_IN}/answer; chmod 777 {HAND_IN}")
    assert carl.shell(f"echo so > {HAND_IN}/answer; ls -A {HAND_IN}") == "answer\n"
    read = f"chmod 600 {HAND_IN}/*/answer; cat {HAND_IN}/carl/answer {HAND_IN}/emmy/answer"
    assert noether.shell(read) == "so\nbecause\n"
    noether.shell(f"echo well done > {HAND_IN}/emmy/mark")
    assert emmy.shell(f"cat {HAND_IN}/mark") == "well done\n"
    contents = everybody[1].server("GET", f"contents/{HAND_IN}/mark")  # as the page shows it
    assert contents["content"] == "well done\n"

    for attempt in (
        f"echo mine > {MATERIAL}/notes",
        f"echo mine > {HAND_OUT}/1/more",
        f"rm {MATERIAL}/notes",
        f"chmod 777 {MATERIAL}",
        f"mv {MATERIAL} {MATERIAL}2",
        f"mount -o remount,rw {MATERIAL}",
        f"umount {MATERIAL}",
        "ls /home/students/.courses",
        "cat /home/students/.courses/algebra/hand-in/emmy/answer",
        f"cat {HAND_IN}/../hand-in/emmy/answer",
        "ls courses/algebra/hand-in/../../../../nb2/courses",
        f"ln /home/students/.courses/algebra/hand-in/emmy/answer {HAND_IN}/theirs",
    ):
        assert "status 0" not in carl.shell(f"{attempt}; echo status $?"), attempt
    # What a teacher reads there leads nowhere else, and does not run.
    noether.shell("echo private > diary")
    carl.shell(f"ln -s ~/diary {HAND_IN}/link; ln -s /etc {HAND_IN}/folder")
    carl.shell(f"cp /usr/bin/true {HAND_IN}/tool; chmod 777 {HAND_IN}/tool")
    assert "Too many levels" in noether.shell(f"cat {HAND_IN}/carl/link")
    assert "Too many levels" in noether.shell(f"ls {HAND_IN}/carl/folder/")
    assert "Permission denied" in noether.shell(f"{HAND_IN}/carl/tool")
    listed = guest.run(
        "cd /home/students; find .courses/algebra -perm /077 -not -type l; stat -c %a .courses"
    )
    assert [line for line in listed.split() if "hand-in/" not in line] == ["700"]

    everybody[2].stop()
    carl = everybody[2].start().kernel()
    assert carl.shell(f"cat {HAND_IN}/answer {MATERIAL}/notes") == "so\nring\n"
    # An own folder of that name is left alone.
    carl.shell("rm courses; mkdir courses; touch courses/own")
    everybody[2].stop()
    carl = everybody[2].start().kernel()
    assert carl.shell("ls courses; ls ../courses") == "own\nalgebra\n"
    for student in everybody:
        student.stop()
