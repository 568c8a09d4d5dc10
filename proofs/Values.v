(** T2 and T3 by the values of the terms: constant, or a function of the correlations. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Backward.
Open Scope R_scope.

Theorem T2_value_holds : T2_value.
Proof.
  intros n D H y0 x Hn Hv. unfold diag_term. rewrite fsum_swap.
  rewrite (fsum_ext D _ (fun d => INR n * (H d d * (1 + y0 d ^ 2)))).
  - rewrite fsum_scal. field.
  - intros d Hd. rewrite fsum_scal. specialize (Hv d Hd).
    rewrite (fsum_ext n _ (fun i => bn n 0 x i d ^ 2 - 2 * y0 d * bn n 0 x i d + y0 d ^ 2))
      by (intros; ring).
    rewrite fsum_plus, fsum_minus, fsum_scal, fsum_const, !(fsum_mean n) by assumption.
    rewrite mean_bn, mean_bn_sq by (assumption || lra). field. lra.
Qed.

(** A column is not constant if and only if its variance is positive. *)
Lemma var_pos_intro n x d i : (1 <= n)%nat -> (i < n)%nat -> x i d <> x O d -> 0 < var n x d.
Proof.
  intros Hn Hi Hx. destruct (var_nonneg n Hn x d) as [|E]; [assumption|]. exfalso. apply Hx.
  assert (Z : forall i, (i < n)%nat -> (x i d - mu n x d) ^ 2 = 0).
  { apply (fsum_eq_zero n (fun i => (x i d - mu n x d) ^ 2)).
    - intros; apply pow2_ge_0.
    - rewrite (fsum_mean n) by assumption. fold (var n x d). rewrite <- E. ring. }
  assert (A : forall i, (i < n)%nat -> x i d = mu n x d).
  { intros i' Hi'. specialize (Z i' Hi'). apply Rminus_diag_uniq.
    rewrite <- Rsqr_pow2 in Z. now apply Rsqr_0_uniq. }
  rewrite (A i Hi). symmetry. apply A. lia.
Qed.

Lemma var_pos_elim n x d : (1 <= n)%nat -> 0 < var n x d ->
  exists i, (i < n)%nat /\ x i d <> x O d.
Proof.
  intros Hn Hv.
  assert (S : forall m, (exists i, (i < m)%nat /\ x i d <> x O d)
                        \/ forall i, (i < m)%nat -> x i d = x O d).
  { induction m as [|m [[i [Hi Ni]]|A]].
    - right. intros; lia.
    - left. exists i. split; [lia | assumption].
    - destruct (Req_EM_T (x m d) (x O d)) as [e|e].
      + right. intros i Hi. destruct (Nat.eq_dec i m) as [->|]; [assumption | apply A; lia].
      + left. exists m. split; [lia | assumption]. }
  destruct (S n) as [|A]; [assumption|]. exfalso.
  assert (M : mu n x d = x O d).
  { unfold mu, mean. rewrite (fsum_ext n _ (fun _ => x O d) A), fsum_const. field.
    now apply INR_neq0. }
  assert (V : var n x d = 0).
  { unfold var, mean. rewrite fsum_zero; [unfold Rdiv; ring|].
    intros i Hi. rewrite M, (A i Hi). ring. }
  lra.
Qed.

(** The batches without a constant column are an open set. *)
Lemma var_pos_open n D x : (1 <= n)%nat -> (forall d, (d < D)%nat -> 0 < var n x d) ->
  exists r, 0 < r /\ forall z,
    (forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (z i d - x i d) < r) ->
    forall d, (d < D)%nat -> 0 < var n z d.
Proof.
  intros Hn Hv.
  destruct (finite_radius D (fun d r => forall z : batch,
      (forall i, (i < n)%nat -> Rabs (z i d - x i d) < r) -> 0 < var n z d))
    as [r [Hr Pr]].
  - intros d r r' P Hr z Hz. apply P. intros i Hi. specialize (Hz i Hi). lra.
  - intros d Hd. destruct (var_pos_elim n x d Hn (Hv d Hd)) as [i [Hi Ni]].
    assert (Hp : 0 < Rabs (x i d - x O d)) by (apply Rabs_pos_lt; lra).
    exists (Rabs (x i d - x O d) / 2). split; [lra|].
    intros z Hz. apply (var_pos_intro n z d i Hn Hi). intros E.
    assert (A := Hz i Hi). assert (B := Hz O Hn). rewrite E in A.
    rewrite Rabs_minus_sym in A.
    assert (C := Rabs_triang (x i d - z O d) (z O d - x O d)).
    replace (x i d - z O d + (z O d - x O d)) with (x i d - x O d) in C by ring. lra.
  - exists r. split; [assumption|]. intros z Hz d Hd. apply (Pr d Hd). auto.
Qed.

Theorem T2_locally_constant_holds : T2_locally_constant.
Proof.
  intros n D H y0 x Hn Hv. destruct (var_pos_open n D x Hn Hv) as [r [Hr P]].
  exists r. split; [assumption|]. intros z Hz. rewrite !T2_value_holds; auto.
Qed.

Theorem T3_value_holds : T3_value.
Proof.
  intros n D eps H y0 x Hn. unfold offdiag_term. rewrite fsum_swap.
  replace (INR n / 2) with (/ 2 * INR n) by field. rewrite Rmult_assoc. f_equal.
  rewrite <- fsum_scal. apply fsum_ext; intros d _. rewrite fsum_swap, <- fsum_scal.
  apply fsum_ext; intros e _. unfold rho.
  rewrite (fsum_ext n _ (fun i => off_diagonal H d e *
    (bn n eps x i d * bn n eps x i e - y0 e * bn n eps x i d - y0 d * bn n eps x i e
     + y0 d * y0 e))) by (intros; ring).
  rewrite fsum_scal, fsum_plus, !fsum_minus, !fsum_scal, fsum_const, !(fsum_mean n) by assumption.
  rewrite !mean_bn by assumption. ring.
Qed.

(** A column that is a multiple of a signal standardizes to the signal's, up to sign. *)
Lemma bn_of_signal n x u a b d i : (1 <= n)%nat -> (i < n)%nat ->
  (forall i, (i < n)%nat -> x i d = a + b * u i) -> 0 < var n x d ->
  bn n 0 x i d = b / Rabs b * bn n 0 (fun i _ => u i) i d /\ b <> 0.
Proof.
  intros Hn Hi E Hv. set (w := fun (i _ : nat) => u i).
  assert (Hmu : mu n x d = a + b * mu n w d).
  { unfold mu. rewrite (mean_ext n (fun i => x i d) _ E).
    now rewrite mean_plus, mean_const, mean_scal by assumption. }
  assert (Hvar : var n x d = b ^ 2 * var n w d).
  { unfold var. rewrite <- mean_scal. apply mean_ext; intros i' Hi'.
    rewrite E, Hmu by assumption. unfold w. ring. }
  assert (Hb : b <> 0) by (intros ->; rewrite Hvar in Hv; lra).
  assert (Hw := var_nonneg n Hn w d).
  assert (Hw' : 0 < var n w d).
  { destruct Hw as [|Ew]; [assumption|]. rewrite Hvar, <- Ew in Hv. lra. }
  assert (Hs : sigma n 0 x d = Rabs b * sigma n 0 w d).
  { unfold sigma. rewrite Hvar, !Rplus_0_r.
    rewrite sqrt_mult by (try apply pow2_ge_0; assumption).
    now rewrite <- Rsqr_pow2, sqrt_Rsqr_abs. }
  split; [|exact Hb]. unfold bn. rewrite Hs, Hmu, E by assumption. fold w.
  change (w i d) with (u i). field. split.
  - apply sigma_neq0. lra.
  - now apply Rabs_no_R0.
Qed.

Theorem T3_perfectly_correlated_holds : T3_perfectly_correlated.
Proof.
  intros n D H y0 a b u x j k Hj Hk Hsym E Hv. assert (Hn : (1 <= n)%nat) by lia.
  eapply partial_val; [apply T3_holds; try assumption; specialize (Hv k Hk); lra|].
  unfold off_diagonal_gradient. rewrite fsum_zero; [ring|]. intros e He.
  set (s := fun d => b d / Rabs (b d)). set (w := fun i => bn n 0 (fun i _ => u i) i k).
  assert (B : forall i d, (i < n)%nat -> (d < D)%nat -> bn n 0 x i d = s d * w i).
  { intros i d Hi Hd.
    destruct (bn_of_signal n x u (a d) (b d) d i Hn Hi) as [-> _]; [auto | auto | reflexivity]. }
  assert (Hs : s k ^ 2 = 1).
  { destruct (bn_of_signal n x u (a k) (b k) k j Hn Hj) as [_ Hb]; [auto | auto|].
    unfold s. destruct (Rcase_abs (b k)) as [N|N]; [rewrite Rabs_left | rewrite Rabs_right];
      try assumption; field; assumption. }
  assert (Hw : \mean_(i < n) w i ^ 2 = 1).
  { replace (\mean_(i < n) w i ^ 2) with (s k ^ 2 * \mean_(i < n) w i ^ 2)
      by (rewrite Hs; ring).
    rewrite <- mean_scal.
    rewrite (mean_ext n _ (fun i => bn n 0 x i k ^ 2))
      by (intros i Hi; rewrite B by assumption; ring).
    specialize (Hv k Hk). rewrite mean_bn_sq by (assumption || lra). field. lra. }
  assert (Hr : rho n 0 x k e = s k * s e).
  { unfold rho. rewrite (mean_ext n _ (fun i => s k * s e * w i ^ 2))
      by (intros i Hi; rewrite !B by assumption; ring).
    rewrite mean_scal, Hw. ring. }
  rewrite Hr, !B by assumption.
  replace (s e * w j - s k * s e * (s k * w j)) with (s e * w j * (1 - s k ^ 2)) by ring.
  rewrite Hs. ring.
Qed.
