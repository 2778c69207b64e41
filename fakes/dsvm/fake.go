// Package dsvm is Microsoft.Compute/virtualMachines and the Microsoft.Network
// types that a VM needs.
package dsvm
