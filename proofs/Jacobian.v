(** The batch statistics and their derivatives; the Jacobian of the standardization phase. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus.
Open Scope R_scope.

(** * The statistics of a feature read that feature's column only *)

Section Column.
Variables (n : nat) (eps : R) (x z : batch) (d : nat).
Hypothesis E : forall i, x i d = z i d.

Lemma mu_col : mu n x d = mu n z d.
Proof. apply mean_ext; intros; apply E. Qed.

Lemma var_col : var n x d = var n z d.
Proof. apply mean_ext; intros; now rewrite E, mu_col. Qed.

Lemma sigma_col : sigma n eps x d = sigma n eps z d.
Proof. unfold sigma. now rewrite var_col. Qed.

Lemma bn_col i : bn n eps x i d = bn n eps z i d.
Proof. unfold bn. now rewrite E, mu_col, sigma_col. Qed.
End Column.

(** * Moments of the standardized batch *)

Section Moments.
Variables (n : nat) (eps : R).
Hypothesis Hn : (1 <= n)%nat.

Lemma mean_centred x d : \mean_(i < n) (x i d - mu n x d) = 0.
Proof.
  rewrite (mean_minus n (fun i => x i d) (fun _ => mu n x d)), mean_const by assumption.
  unfold mu. ring.
Qed.

Lemma var_nonneg x d : 0 <= var n x d.
Proof.
  unfold var, mean. apply Rmult_le_pos.
  - apply fsum_nonneg; intros; apply pow2_ge_0.
  - now apply Rlt_le, Rinv_0_lt_compat, INR_pos.
Qed.

(** The standardized batch is centred ... *)
Lemma mean_bn x d : \mean_(i < n) bn n eps x i d = 0.
Proof.
  unfold bn, Rdiv.
  rewrite (mean_ext n _ (fun i => / sigma n eps x d * (x i d - mu n x d)))
    by (intros; apply Rmult_comm).
  rewrite mean_scal, mean_centred. ring.
Qed.

Lemma sigma_pos x d : 0 < var n x d + eps -> 0 < sigma n eps x d.
Proof. apply sqrt_lt_R0. Qed.

Lemma sigma_neq0 x d : 0 < var n x d + eps -> sigma n eps x d <> 0.
Proof. intros H. now apply Rgt_not_eq, sigma_pos. Qed.

Lemma sigma_sq x d : 0 < var n x d + eps -> sigma n eps x d ^ 2 = var n x d + eps.
Proof. intros H. unfold sigma. apply pow2_sqrt. lra. Qed.

(** ... and its second moment is var / (var + eps). *)
Lemma mean_bn_sq x d : 0 < var n x d + eps ->
  \mean_(i < n) bn n eps x i d ^ 2 = var n x d / (var n x d + eps).
Proof.
  intros H.
  rewrite (mean_ext n _ (fun i => / (var n x d + eps) * (x i d - mu n x d) ^ 2)).
  - rewrite mean_scal. fold (var n x d). field. lra.
  - intros i _. unfold bn. rewrite <- (sigma_sq x d H). field. now apply sigma_neq0.
Qed.

End Moments.

(** * Derivatives of the statistics *)

Section Statistics.
Variables (n : nat) (eps : R) (x : batch) (j k : nat).
Hypothesis Hj : (j < n)%nat.

Let Hn : (1 <= n)%nat.
Proof. lia. Qed.

Lemma partial_entry i : is_partial (fun z => z i k) x j k (delta i j).
Proof.
  unfold is_partial, upd, delta. rewrite Nat.eqb_refl.
  destruct (Nat.eqb_spec i j); simpl; [apply is_derive_id_R | apply is_derive_const_R].
Qed.

Lemma partial_entry_other i d : d <> k -> is_partial (fun z => z i d) x j k 0.
Proof.
  intros Hd. unfold is_partial. apply (is_derive_ext (fun _ => x i d)).
  - intros t. symmetry. now apply upd_other.
  - apply is_derive_const_R.
Qed.

Lemma partial_mean (f : batch -> nat -> R) f' :
  (forall i, (i < n)%nat -> is_partial (fun z => f z i) x j k (f' i)) ->
  is_partial (fun z => \mean_(i < n) f z i) x j k (\mean_(i < n) f' i).
Proof.
  intros E. apply (partial_ext (fun z => / INR n * \sum_(i < n) f z i)).
  { intros z. unfold mean, Rdiv. apply Rmult_comm. }
  apply (partial_val _ _ _ _ (/ INR n * \sum_(i < n) f' i));
    [|unfold mean, Rdiv; apply Rmult_comm].
  apply is_derive_scal, (is_derive_fsum n (fun i t => f (upd x j k t) i)), E.
Qed.

Lemma mean_delta f : \mean_(i < n) f i * delta i j = f j / INR n.
Proof. unfold mean. now rewrite fsum_delta. Qed.

Lemma partial_mu : is_partial (fun z => mu n z k) x j k (/ INR n).
Proof.
  apply (partial_val _ _ _ _ (\mean_(i < n) 1 * delta i j)).
  - apply (partial_mean (fun z i => z i k)). intros i _.
    apply (partial_val _ _ _ _ (delta i j)); [apply partial_entry | ring].
  - rewrite (mean_delta (fun _ => 1)). unfold Rdiv. ring.
Qed.

Lemma partial_centred i :
  is_partial (fun z => z i k - mu n z k) x j k (delta i j - / INR n).
Proof.
  apply (is_derive_minus_R (fun t => upd x j k t i k) (fun t => mu n (upd x j k t) k)).
  - apply partial_entry.
  - apply partial_mu.
Qed.

Lemma partial_var : is_partial (fun z => var n z k) x j k (2 * (x j k - mu n x k) / INR n).
Proof.
  apply (partial_val _ _ _ _
    (\mean_(i < n) (INR 2 * (delta i j - / INR n) * (x i k - mu n x k) ^ Nat.pred 2))).
  - apply (partial_mean (fun z i => (z i k - mu n z k) ^ 2)). intros i _.
    eapply is_derive_val.
    + apply (is_derive_pow (fun t => upd x j k t i k - mu n (upd x j k t) k)).
      apply partial_centred.
    + cbv beta. now rewrite upd_id.
  - rewrite (mean_ext n _ (fun i => 2 * ((x i k - mu n x k) * delta i j)
                                    - 2 * / INR n * (x i k - mu n x k)))
      by (intros; simpl; ring).
    rewrite mean_minus, !mean_scal, mean_centred by exact Hn.
    rewrite (mean_delta (fun i => x i k - mu n x k)). unfold Rdiv. ring.
Qed.

Hypothesis Hv : 0 < var n x k + eps.

Lemma partial_sigma :
  is_partial (fun z => sigma n eps z k) x j k (bn n eps x j k / INR n).
Proof.
  apply (partial_val _ _ _ _
    (2 * (x j k - mu n x k) / INR n / (2 * sqrt (var n (upd x j k (x j k)) k + eps)))).
  - apply (is_derive_sqrt (fun t => var n (upd x j k t) k + eps)).
    + apply (is_derive_val _ _ (2 * (x j k - mu n x k) / INR n + 0)); [|ring].
      apply (is_derive_plus_R (fun t => var n (upd x j k t) k) (fun _ => eps)).
      * apply partial_var.
      * apply is_derive_const_R.
    + rewrite upd_id. exact Hv.
  - rewrite upd_id. fold (sigma n eps x k). unfold bn.
    field. split; [now apply sigma_neq0 | now apply INR_neq0].
Qed.

(** A quotient of something by the scale. *)
Lemma partial_over_sigma f f' :
  is_partial f x j k f' ->
  is_partial (fun z => f z / sigma n eps z k) x j k
    (/ sigma n eps x k * (f' - f x / sigma n eps x k * (bn n eps x j k / INR n))).
Proof.
  intros Hf. assert (Hs := sigma_neq0 n eps x k Hv).
  apply (partial_val _ _ _ _
    ((f' * sigma n eps (upd x j k (x j k)) k - f (upd x j k (x j k)) * (bn n eps x j k / INR n))
     / sigma n eps (upd x j k (x j k)) k ^ 2)).
  - apply (is_derive_div (fun t => f (upd x j k t)) (fun t => sigma n eps (upd x j k t) k)).
    + exact Hf.
    + apply partial_sigma.
    + now rewrite upd_id.
  - rewrite upd_id. field. split; [now apply INR_neq0 | exact Hs].
Qed.

End Statistics.

(** * The Jacobian *)

Theorem jacobian_holds : jacobian.
Proof.
  intros n eps x i j k Hj Hv.
  eapply partial_val;
    [apply (partial_over_sigma n eps x j k Hj Hv (fun z => z i k - mu n z k)),
       partial_centred, Hj|].
  fold (bn n eps x i k). unfold Rdiv. ring.
Qed.

Theorem jacobian_other_feature_holds : jacobian_other_feature.
Proof.
  intros n eps x i d j k Hd. unfold is_partial.
  apply (is_derive_ext (fun _ => bn n eps x i d)).
  - intros t. apply bn_col. intros i'. symmetry. now apply upd_other.
  - apply is_derive_const_R.
Qed.

(** Both in one formula. *)
Definition jac n eps x j k : batch := fun i d =>
  if Nat.eqb d k then
    / sigma n eps x k * (delta i j - / INR n - bn n eps x i k * bn n eps x j k / INR n)
  else 0.

Lemma partial_bn n eps x j k i d : (j < n)%nat -> 0 < var n x k + eps ->
  is_partial (fun z => bn n eps z i d) x j k (jac n eps x j k i d).
Proof.
  intros Hj Hv. unfold jac. destruct (Nat.eqb_spec d k) as [->|Hd].
  - now apply jacobian_holds.
  - now apply jacobian_other_feature_holds.
Qed.

(** A contraction with something that only lives in column [k]. *)
Lemma contract_column n D (G J : batch) k : (k < D)%nat ->
  (forall i d, d <> k -> J i d = 0) ->
  \sum_(i < n) \sum_(d < D) G i d * J i d = \sum_(i < n) G i k * J i k.
Proof.
  intros Hk E. apply fsum_ext; intros i _. apply (fsum_single D k); [assumption|].
  intros d _ Hd. rewrite E by assumption. ring.
Qed.

Lemma contract n D eps x (G : batch) j k : (j < n)%nat -> (k < D)%nat ->
  \sum_(i < n) \sum_(d < D) G i d * jac n eps x j k i d = bn_backward n eps x G j k.
Proof.
  intros Hj Hk. rewrite (contract_column n D G _ k Hk).
  - rewrite (fsum_ext n _ (fun i => / sigma n eps x k *
       (G i k * delta i j - / INR n * G i k
        - bn n eps x j k * / INR n * (bn n eps x i k * G i k)))).
    + rewrite fsum_scal, !fsum_minus, fsum_delta, !fsum_scal by assumption.
      unfold bn_backward, mean, Rdiv. ring.
    + intros i _. unfold jac. rewrite Nat.eqb_refl. unfold Rdiv. ring.
  - intros i d Hd. unfold jac. apply Nat.eqb_neq in Hd. now rewrite Hd.
Qed.
