"""Prove an appliance's promises: boot its disks, gather facts, judge them.

Facts come in named sections, each made by a collector; checks are pure functions from one section
to the problems in it. Both register themselves from the modules of `provision.verify.checks`, so
a further topic is one further module there.
"""
