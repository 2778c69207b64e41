@echo off
rem Local runs are not supported on Windows: the control script needs POSIX
rem process groups and file locks. The run is reported as failed, with this reason.
cd /d "%~dp0.."
if not exist azureml-logs mkdir azureml-logs
echo Local runs are not supported on Windows. Use WSL, or a remote target. >> azureml-logs\60_control_log.txt
curl --config azureml-setup\curl.conf >NUL 2>&1
exit /b 1
