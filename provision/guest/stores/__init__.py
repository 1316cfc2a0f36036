"""Stores outside the appliance for a student's files, inside the student's own session.

Google Drive, S3, WebDAV and Nextcloud by rclone. Everything here runs as the session's account,
keeps its settings in the student's own files and reaches only what the proxy lets through.
"""
